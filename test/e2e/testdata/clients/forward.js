// node with https-proxy-agent 5 through forward proxies: node forward.js HOST PROXY:PORT...
const http = require("http");
const https = require("https");
const createHttpsProxyAgent = require("https-proxy-agent");

const [host, ...proxies] = process.argv.slice(2);
const cases = {};
for (const at of proxies) {
  const [proxy, port] = at.split(":");
  const name = proxy.split(".")[0];
  const tunnel = createHttpsProxyAgent(`http://${at}`);
  const connect = (more) => [https, { host, path: "/x", agent: tunnel, rejectUnauthorized: false, ...more }];
  const absolute = (authority, Host) => {
    return [http, { host: proxy, port, path: `http://${authority}/x`, headers: { Host } }];
  };
  cases[`${name}, CONNECT, https`] = connect({});
  cases[`${name}, CONNECT, https with a port`] = connect({ port: 443 });
  cases[`${name}, absolute-form`] = absolute(host, host);
  cases[`${name}, absolute-form, default port`] = absolute(`${host}:80`, host);
  cases[`${name}, absolute-form, another Host`] = absolute(host, "other");
}

function run([module, options]) {
  return new Promise((resolve) => {
    const request = module.get({ timeout: 20000, ...options }, (response) => {
      let body = "";
      response.on("data", (chunk) => { body += chunk; });
      response.on("end", () => {
        if (response.statusCode !== 200) return resolve(String(response.statusCode));
        const seen = JSON.parse(body);
        resolve(`200 ${seen.method} ${seen.uri} host ${seen.host}`);
      });
    });
    request.on("timeout", () => request.destroy(new Error("timeout")));
    request.on("error", (error) => resolve(error.message));
  });
}

(async () => {
  const outcomes = {};
  for (const [name, options] of Object.entries(cases)) outcomes[name] = await run(options);
  console.log(JSON.stringify(outcomes));
  process.exit(0);
})();
