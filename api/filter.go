package api

import (
	"github.com/tulle-mesh/tulle/api/pb"
	"github.com/tulle-mesh/tulle/mesh"
)

func encodeFilter(f mesh.Filter) *pb.Filter {
	switch {
	case f.RequestHeaders != nil:
		return &pb.Filter{Filter: &pb.Filter_RequestHeaders{RequestHeaders: encodeModifier(f.RequestHeaders)}}
	case f.ResponseHeaders != nil:
		return &pb.Filter{Filter: &pb.Filter_ResponseHeaders{ResponseHeaders: encodeModifier(f.ResponseHeaders)}}
	case f.Redirect != nil:
		r := f.Redirect
		return &pb.Filter{Filter: &pb.Filter_Redirect{Redirect: &pb.Redirect{
			Scheme: r.Scheme, Host: r.Host, Port: uint32(r.Port), Path: encodePathModifier(r.Path), Status: uint32(r.Status),
		}}}
	case f.Rewrite != nil:
		return &pb.Filter{Filter: &pb.Filter_Rewrite{
			Rewrite: &pb.Rewrite{Host: f.Rewrite.Host, Path: encodePathModifier(f.Rewrite.Path)}}}
	case f.Mirror != nil:
		m := f.Mirror
		return &pb.Filter{Filter: &pb.Filter_Mirror{Mirror: &pb.Mirror{
			Backend: encodeWeighted(m.Backend), Numerator: m.Numerator, Denominator: m.Denominator,
		}}}
	case f.CORS != nil:
		c := f.CORS
		return &pb.Filter{Filter: &pb.Filter_Cors{Cors: &pb.CORS{
			AllowOrigins: c.AllowOrigins, AllowCredentials: c.AllowCredentials, AllowMethods: c.AllowMethods,
			AllowHeaders: c.AllowHeaders, ExposeHeaders: c.ExposeHeaders, MaxAgeNanos: int64(c.MaxAge),
		}}}
	default:
		return &pb.Filter{}
	}
}

// filters leaves out the ones that it does not understand, which makes the rule or backend that they stand in invalid.
func (f *flaws) filters(in []*pb.Filter) []mesh.Filter {
	var out []mesh.Filter
	for _, filter := range in {
		f.whole(filter)
		if v := f.filter(filter); v != (mesh.Filter{}) {
			out = append(out, v)
		} else {
			f.add("this proxy does not know one of the rule's filters")
		}
	}
	return out
}

func (f *flaws) filter(in *pb.Filter) mesh.Filter {
	switch v := in.GetFilter().(type) {
	case *pb.Filter_RequestHeaders:
		return mesh.Filter{RequestHeaders: f.modifier(v.RequestHeaders)}
	case *pb.Filter_ResponseHeaders:
		return mesh.Filter{ResponseHeaders: f.modifier(v.ResponseHeaders)}
	case *pb.Filter_Redirect:
		return mesh.Filter{Redirect: f.redirect(v.Redirect)}
	case *pb.Filter_Rewrite:
		f.whole(v.Rewrite)
		return mesh.Filter{Rewrite: &mesh.Rewrite{Host: v.Rewrite.GetHost(), Path: f.pathModifier(v.Rewrite.GetPath())}}
	case *pb.Filter_Mirror:
		f.whole(v.Mirror)
		return mesh.Filter{Mirror: &mesh.Mirror{
			Backend: decodeWeighted(v.Mirror.GetBackend()), Numerator: v.Mirror.GetNumerator(),
			Denominator: max(v.Mirror.GetDenominator(), 1),
		}}
	case *pb.Filter_Cors:
		return mesh.Filter{CORS: f.cors(v.Cors)}
	default:
		return mesh.Filter{}
	}
}

func encodeModifier(m *mesh.HeaderModifier) *pb.HeaderModifier {
	return &pb.HeaderModifier{Set: mapped(m.Set, encodeHeader), Add: mapped(m.Add, encodeHeader), Remove: m.Remove}
}

func encodeHeader(h mesh.Header) *pb.Header { return &pb.Header{Name: h.Name, Value: h.Value} }

func (f *flaws) modifier(m *pb.HeaderModifier) *mesh.HeaderModifier {
	f.whole(m)
	return &mesh.HeaderModifier{Set: mapped(m.GetSet(), f.header), Add: mapped(m.GetAdd(), f.header),
		Remove: m.GetRemove()}
}

func (f *flaws) header(h *pb.Header) mesh.Header {
	f.whole(h)
	return mesh.Header{Name: h.GetName(), Value: h.GetValue()}
}

func (f *flaws) redirect(r *pb.Redirect) *mesh.Redirect {
	f.whole(r)
	status := int(r.GetStatus())
	switch status {
	case 301, 302, 303, 307, 308:
	default:
		f.add("this proxy does not redirect with status %d", r.GetStatus())
		status = 302
	}
	return &mesh.Redirect{
		Scheme: r.GetScheme(), Host: r.GetHost(), Port: f.port(r.GetPort()), Path: f.pathModifier(r.GetPath()),
		Status: status,
	}
}

func encodePathModifier(p *mesh.PathModifier) *pb.PathModifier {
	if p == nil {
		return nil
	}
	return &pb.PathModifier{Prefix: p.Prefix, Value: p.Value}
}

func (f *flaws) pathModifier(p *pb.PathModifier) *mesh.PathModifier {
	if p == nil {
		return nil
	}
	f.whole(p)
	return &mesh.PathModifier{Prefix: p.GetPrefix(), Value: p.GetValue()}
}

func (f *flaws) cors(c *pb.CORS) *mesh.CORS {
	f.whole(c)
	return &mesh.CORS{
		AllowOrigins: c.GetAllowOrigins(), AllowCredentials: c.GetAllowCredentials(), AllowMethods: c.GetAllowMethods(),
		AllowHeaders: c.GetAllowHeaders(), ExposeHeaders: c.GetExposeHeaders(), MaxAge: nanos(c.GetMaxAgeNanos()),
	}
}
