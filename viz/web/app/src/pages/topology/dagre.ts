// What the layout uses of dagre, with the types that its package lacks.
import * as dagreModule from '@dagrejs/dagre';

const library = ((dagreModule as { default?: unknown }).default ?? dagreModule) as {
  graphlib: { Graph: new () => Graph };
  layout(graph: Graph): void;
};

export interface Graph {
  setGraph(label: object): void;
  graph(): object;
  setDefaultEdgeLabel(make: () => object): void;
  setNode(id: string, label: object): void;
  node(id: string): object;
  setEdge(from: string, to: string, label?: object): void;
}

export const Graph = library.graphlib.Graph;
export const layout = library.layout;
