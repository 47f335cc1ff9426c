// The pages that the tests open. A new page is a row here:
//
//   name     what the test is called
//   path     the address
//   title    the heading of the page
//   numbers  how many rows of numbers with a command it shows at least
//   change   what a user does to its state; the address has to hold all of it
//   names    keys of its JSON, besides the usual ones, that have text from the cluster
//   refuses  what a viewer without rights reads
//   picture  the name of its screenshot, if it has one
//   prepare  what is done before the screenshot

// pages returns the rows for a cluster: the namespace has a Deployment client that calls the Deployment and Service server.
export function pages({ namespace, client, server }) {
  return [
    { name: 'overview', path: '/', title: 'Overview', numbers: 2, picture: 'overview',
      change: async (page) => {
        await choose(page, '5m');
        await page.getByRole('searchbox').fill(namespace.slice(0, 4));
      } },
    { name: 'overview of a namespace', path: `/?namespace=${namespace}`, title: namespace, numbers: 2, picture: 'namespace',
      change: (page) => choose(page, '10m') },
    { name: 'topology', path: `/topology?namespace=${namespace}`, title: 'Topology', numbers: 3, picture: 'topology',
      change: async (page) => {
        await choose(page, '5m');
        await page.locator(`.topology [data-id][aria-label*="${server}"]`).first().press('Enter');
        await page.waitForSelector('.panel');
      } },
    { name: 'topology, an edge', title: 'Topology', numbers: 1, picture: 'edge',
      path: `/topology?namespace=${namespace}&selected=${encodeURIComponent(
        `deployment/${namespace}/${client}>deployment/${namespace}/${server}`)}`,
      change: (page) => page.keyboard.press('Escape') },
    { name: 'topology, table', path: `/topology?namespace=${namespace}&view=table`, title: 'Topology', numbers: 2,
      change: (page) => page.getByRole('searchbox').fill(server) },
    { name: 'topology of all namespaces', path: '/topology', title: 'Topology',
      change: (page) => choose(page, 'Workloads') },
    { name: 'workload', path: `/workload/${namespace}/deployment/${server}`, title: server, numbers: 3, picture: 'workload',
      change: (page) => choose(page, '5m'), prepare: shortHistory },
    { name: 'service', path: `/service/${namespace}/${server}`, title: server, numbers: 2, picture: 'service',
      change: (page) => choose(page, '5m'), prepare: shortHistory },
    { name: 'policies', path: '/policies', title: 'Routes and policies', numbers: 3, picture: 'policies',
      change: async (page) => {
        await page.getByRole('button', { name: /^Servers/ }).click();
        await page.locator('.disclosure').first().click();
      } },
    { name: 'health', path: '/health', title: 'Health', picture: 'health', refuses: /The notes below say more/,
      prepare: (page) => page.waitForSelector('.check-group'),
      change: async (page) => {
        await page.keyboard.press('/'); // opens the list of namespaces
        await page.keyboard.type(namespace);
        await page.getByRole('option', { name: namespace }).waitFor();
        await page.keyboard.press('Enter');
      } },
    { name: 'tap', path: `/tap?namespace=${namespace}`, title: 'Tap',
      change: (page) => page.getByRole('link', { name: server }).first().click() },
    { name: 'tap of a workload', path: `/tap?namespace=${namespace}&resource=deploy/${client}&to=deploy/${server}`, title: 'Tap',
      picture: 'tap',
      change: (page) => page.getByRole('checkbox', { name: 'Failed only' }).check(),
      prepare: (page) => page.waitForTimeout(4000) },
  ].filter((p) => p.name.includes(process.env.ONLY ?? ''));
}

// choose presses one of a row of radio buttons.
export function choose(page, option) {
  return page.locator('.choice label', { hasText: new RegExp(`^${option}$`) }).click();
}

// shortHistory shows the last ten minutes only: clusters of the demo are young.
async function shortHistory(page) {
  await page.locator('.section .choice label', { hasText: '10m' }).click();
}
