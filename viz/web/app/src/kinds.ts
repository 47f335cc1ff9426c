// How kinds of objects are written.
const kinds: Record<string, string> = {
  statefulset: 'StatefulSet', daemonset: 'DaemonSet', cronjob: 'CronJob', replicaset: 'ReplicaSet',
  replicationcontroller: 'ReplicationController', deployment: 'Deployment', job: 'Job', pod: 'Pod',
};

// kindName returns a kind as Kubernetes writes it.
export function kindName(kind: string): string {
  return kinds[kind] ?? kind;
}
