import java.io.IOException;
import java.io.InputStream;
import java.io.OutputStream;
import java.net.HttpURLConnection;
import java.net.InetSocketAddress;
import java.net.Proxy;
import java.net.URL;
import java.nio.charset.StandardCharsets;
import java.security.SecureRandom;
import java.security.cert.X509Certificate;
import java.util.LinkedHashMap;
import java.util.Map;
import java.util.concurrent.Callable;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import java.util.stream.Collectors;
import javax.net.ssl.HttpsURLConnection;
import javax.net.ssl.SSLContext;
import javax.net.ssl.TrustManager;
import javax.net.ssl.X509TrustManager;

/** The JDK's HttpURLConnection, through forward proxies and without one: java Forward.java HOST PROXY:PORT... */
public class Forward {
    public static void main(String[] args) throws Exception {
        String host = args[0];
        trustAll();
        Map<String, Callable<String>> cases = new LinkedHashMap<>();
        for (int i = 1; i < args.length; i++) {
            String[] at = args[i].split(":");
            InetSocketAddress address = InetSocketAddress.createUnresolved(at[0], Integer.parseInt(at[1]));
            Proxy proxy = new Proxy(Proxy.Type.HTTP, address);
            String name = at[0].split("[.]")[0];
            cases.put(name + ", absolute-form", () -> get("http://" + host + "/x", proxy));
            cases.put(name + ", absolute-form, default port", () -> get("http://" + host + ":80/x", proxy));
            cases.put(name + ", CONNECT, https", () -> get("https://" + host + "/x", proxy));
            cases.put(name + ", CONNECT, https with a port", () -> get("https://" + host + ":443/x", proxy));
        }
        cases.put("direct", () -> get("http://" + host + "/x", Proxy.NO_PROXY));
        String early = "http://" + host + ":7413";
        cases.put("413 before the body, drained, streamed", () -> post(early + "/drained", 4 << 20, "fixed"));
        cases.put("413 before the body, drained, chunked", () -> post(early + "/drained", 4 << 20, "chunked"));
        cases.put("413 before the body, drained, buffered", () -> post(early + "/drained", 1 << 20, "buffered"));
        cases.put("413 before the body, left unread", () -> post(early + "/unread", 32 << 10, "buffered"));
        cases.put("413 before the body, left unread, no close", () -> post(early + "/open", 32 << 10, "buffered"));
        System.out.println(cases.entrySet().stream()
            .map(c -> "\"" + c.getKey() + "\":\"" + outcome(c.getValue()) + "\"")
            .collect(Collectors.joining(",", "{", "}")));
        System.exit(0);
    }

    static String outcome(Callable<String> run) {
        try {
            return run.call();
        } catch (Exception e) {
            return e.toString().replaceAll("[\"\\\\\n]", " ");
        }
    }

    static String get(String url, Proxy proxy) throws IOException {
        return answer((HttpURLConnection) new URL(url).openConnection(proxy));
    }

    static String post(String url, int size, String how) throws IOException {
        HttpURLConnection c = (HttpURLConnection) new URL(url).openConnection();
        c.setRequestMethod("POST");
        c.setDoOutput(true);
        if (how.equals("fixed")) {
            c.setFixedLengthStreamingMode(size);
        } else if (how.equals("chunked")) {
            c.setChunkedStreamingMode(8192);
        }
        try (OutputStream out = c.getOutputStream()) {
            byte[] part = new byte[8192];
            for (int sent = 0; sent < size; sent += part.length) {
                out.write(part);
            }
        }
        return answer(c);
    }

    static final Pattern SEEN = Pattern.compile("\"method\":\"(.*?)\",\"uri\":\"(.*?)\",.*?\"host\":\"(.*?)\"");

    static String answer(HttpURLConnection c) throws IOException {
        c.setConnectTimeout(20_000);
        c.setReadTimeout(20_000);
        int status = c.getResponseCode();
        InputStream in = status < 400 ? c.getInputStream() : c.getErrorStream();
        String body = in == null ? "" : new String(in.readAllBytes(), StandardCharsets.UTF_8);
        Matcher seen = SEEN.matcher(body);
        if (!seen.find()) {
            return String.valueOf(status);
        }
        return status + " " + seen.group(1) + " " + seen.group(2) + " host " + seen.group(3);
    }

    /** The server's certificate is its own: the tests are not about trust. */
    static void trustAll() throws Exception {
        SSLContext context = SSLContext.getInstance("TLS");
        context.init(null, new TrustManager[] {new X509TrustManager() {
            public void checkClientTrusted(X509Certificate[] chain, String type) {}
            public void checkServerTrusted(X509Certificate[] chain, String type) {}
            public X509Certificate[] getAcceptedIssuers() { return new X509Certificate[0]; }
        }}, new SecureRandom());
        HttpsURLConnection.setDefaultSSLSocketFactory(context.getSocketFactory());
        HttpsURLConnection.setDefaultHostnameVerifier((name, session) -> true);
    }
}
