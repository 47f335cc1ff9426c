package model

import (
	"fmt"

	"github.com/tulle-mesh/tulle/controller/compile"
)

// parentProblem returns why the Service cannot be a parent; "" if it can.
func parentProblem(p *compile.ParentRef, svc *compile.Service) string {
	switch {
	case svc == nil:
		return fmt.Sprintf("there is no Service %s in namespace %s", p.Name, p.Namespace)
	case len(svc.ClusterIPs) == 0:
		return "parent service must have a ClusterIP"
	case p.Port == 0 && p.Section == "":
		return ""
	}
	for _, port := range svc.Ports {
		if p.Includes(port) {
			return ""
		}
	}
	if p.Section == "" {
		return fmt.Sprintf("Service %s has no TCP port %d", p.Name, p.Port)
	}
	if p.Port == 0 {
		return fmt.Sprintf("Service %s has no TCP port that is named %s", p.Name, p.Section)
	}
	return fmt.Sprintf("Service %s has no TCP port %d that is named %s", p.Name, p.Port, p.Section)
}
