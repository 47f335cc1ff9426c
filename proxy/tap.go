package proxy

import (
	"fmt"

	"github.com/tulle-mesh/tulle/mesh"
	"github.com/tulle-mesh/tulle/proxy/tap"
)

// addTap makes the server through which the tap server watches, if the configuration names one.
func (p *Proxy) addTap() (err error) {
	s, pod, local := &p.cfg.Settings, &p.cfg.Pod, p.cfg.Local
	self := mesh.PodRef{Namespace: pod.Namespace, Name: pod.Name, ServiceAccount: pod.ServiceAccount}
	p.env.Tap.Configure(self, s.TapRedactedHeaders, s.TapRedactedParameters)
	watcher := s.TapID
	if local != nil && local.TapID != "" {
		watcher = local.TapID
	}
	if watcher == "" || local != nil && !local.Tap.IsValid() {
		return nil
	}
	p.tap, err = tap.NewServer(tap.ServerConfig{
		Hub: &p.env.Tap, Certs: p.env.Certs, Client: watcher, Log: p.log.Named("tap"),
	})
	return err
}

// listenTap binds the control port on every address of the pod.
func (p *Proxy) listenTap() error {
	if p.tap == nil {
		return nil
	}
	addr := fmt.Sprintf(":%d", p.cfg.Settings.ControlPort) // dual stack where the system is
	if local := p.cfg.Local; local != nil {
		addr = local.Tap.String()
	}
	if err := p.tap.Listen(addr); err != nil {
		return err
	}
	p.bound.Tap = p.tap.Addr()
	return nil
}
