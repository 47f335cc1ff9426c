// The pages that the tests open. A new page is a row here:
//
//   name     what the test is called
//   path     the address
//   title    the heading of the page
//   numbers  how many rows of numbers with a command it shows at least
//   change   what a user does to its state; the address has to hold all of it
//   names    keys of its JSON, besides the usual ones, that have text from the cluster
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
    { name: 'topology', path: `/topology?namespace=${namespace}`, title: 'Topology', picture: 'topology',
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
    { name: 'policies', path: '/policies', title: 'Routes and policies', numbers: 3, picture: 'policies',
      change: async (page) => {
        await page.getByRole('button', { name: /^Servers/ }).click();
        await page.locator('.disclosure').first().click();
      } },
  ].filter((p) => p.name.includes(process.env.ONLY ?? ''));
}

// choose presses one of a row of radio buttons.
export function choose(page, option) {
  return page.locator('.choice label', { hasText: new RegExp(`^${option}$`) }).click();
}
