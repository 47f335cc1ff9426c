package main

import (
	"fmt"
	"path/filepath"
)

// hints is what to try next, ready to paste.
func (d *demo) hints() string {
	path := filepath.Join(d.root, "bin")
	if !d.own {
		path = filepath.Join(d.root, ".cluster", "bin") + ":" + path
	}
	end := "make cluster-down                                       remove the cluster"
	if d.own {
		end = "kubectl delete ns shop; tulle viz uninstall | kubectl delete -f -; tulle uninstall | kubectl delete -f -"
	}
	return fmt.Sprintf(`
Try next:
  export KUBECONFIG=%s PATH=%s:$PATH
  tulle viz dashboard -n shop                             all of it in a browser: prints the address, until Ctrl-C
  tulle check --proxy -n shop                             is every proxy healthy?
  tulle viz stat deploy -n shop --from deploy/web         whom web calls, and how well
  tulle viz tap deploy/web -n shop --to deploy/checkout   requests while they happen
  tulle viz routes svc/web -n shop                        the same by route; docs/guides/canary.md makes one
  tulle identity -n shop -l app=web                       the certificate that web shows to others
  tulle diagnostics endpoints cart.shop.svc.cluster.local:9090
  kubectl -n shop scale deploy/catalog --replicas=5       customers do not notice
  kubectl -n shop rollout restart deploy/cart             nor this
  kubectl -n tulle delete pods --all                      nor this
  make demo                                               the numbers again
  docs/guides/dashboard.md                                what the dashboard shows, also from another machine
  docs/guides/observability.md                            find why checkout fails; make guides runs all guides
  %s`, d.kubeconfig, path, end)
}
