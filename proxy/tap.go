package proxy

import (
	"errors"
	"fmt"

	"github.com/tulle-mesh/tulle/mesh"
	"github.com/tulle-mesh/tulle/proxy/tap"
)

// addTap makes the server through which the tap server watches, if the configuration names one.
func (p *Proxy) addTap() error {
	s := &p.cfg.Settings
	pod := &p.cfg.Pod
	p.env.Tap.Self = mesh.PodRef{Namespace: pod.Namespace, Name: pod.Name, ServiceAccount: pod.ServiceAccount}
	p.env.Tap.Redact(s.TapRedactedHeaders)
	p.env.Tap.RedactParameters(s.TapRedactedParameters)
	if s.TapID == "" || p.cfg.Local != nil && !p.cfg.Local.Tap.IsValid() {
		return nil
	}
	if p.env.Certs == nil {
		return errors.New("tap needs a certificate")
	}
	id, err := mesh.ParseID(s.TapID)
	if err != nil {
		return fmt.Errorf("read tapID: %w", err)
	}
	p.tap = tap.NewServer(tap.ServerConfig{Hub: &p.env.Tap, Certs: p.env.Certs, Client: id, Log: p.log.Named("tap")})
	return nil
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
