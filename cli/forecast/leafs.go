package forecast

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"
)

// leafs evaluates the certificates of proxies. A proxy renews its own after half of its life, give or take a tenth.
func (f *Facts) leafs(at, end time.Time) []Item {
	var late []Item
	var unasked []string
	var first time.Time
	silent, fine := 0, 0
	for _, p := range f.Proxies {
		switch {
		case !p.Asked:
			silent++
		case p.Err != "":
			unasked = append(unasked, p.Namespace+"/"+p.Pod+": "+p.Err)
		case f.late(p):
			late = append(late, f.lateLeaf(p, at))
		default:
			fine++
			if first.IsZero() || p.Until.Before(first) {
				first = p.Until
			}
		}
	}
	items := late
	if fine > 0 {
		item := Item{Kind: "certificates of proxies", Name: count(fine, "proxy", "proxies"), State: Renewed, Result: Fine,
			Ends: new(first.UTC())}
		item.say("the first ends on %s; each is renewed after half of its life, by its proxy, while the identity controller "+
			"answers and its issuer lasts", stamp(first))
		if at.Before(first) {
			item.State = Valid
		}
		if !end.IsZero() && !at.Before(end) {
			item.State, item.Result = Ended, Error
			item.say("no renewed one lasts beyond %s", stamp(end))
		}
		items = append(items, item)
	}
	if unasked != nil {
		slices.Sort(unasked)
		item := Item{Kind: "certificates of proxies", Name: count(len(unasked), "proxy", "proxies"), State: NotKnown,
			Result: Warning}
		item.say("could not be asked; the first is %s", unasked[0])
		items = append(items, item)
	}
	if silent > 0 {
		item := Item{Kind: "certificates of proxies", Name: count(silent, "proxy", "proxies"), State: Unverified,
			Result: Fine}
		item.say("were not asked (--proxy asks them); each proxy renews its own while the identity controller answers and " +
			"its issuer lasts")
		if !end.IsZero() && !at.Before(end) {
			item.State, item.Result = Ended, Error
			item.say("none lasts beyond %s", stamp(end))
		}
		items = append(items, item)
	}
	return items
}

// late reports whether a proxy missed the renewal of its certificate.
func (f *Facts) late(p Proxy) bool {
	life := p.Until.Sub(p.Since)
	return f.Now.After(p.Since.Add(life/2 + life/10 + renewalSlack))
}

func (f *Facts) lateLeaf(p Proxy, at time.Time) Item {
	item := Item{Kind: "certificate of a proxy", Namespace: p.Namespace, Name: "pod/" + p.Pod, State: Valid,
		Result: Warning, Ends: new(p.Until.UTC())}
	item.say("ends on %s and was to be renewed after half of its life: kubectl -n %s logs %s -c tulle-proxy",
		stamp(p.Until), p.Namespace, p.Pod)
	item.breaks = &Break{Time: p.Until.UTC(), Cause: fmt.Sprintf("the certificate of pod %s/%s ends", p.Namespace, p.Pod),
		Consequence: "handshakes with this pod fail", Hit: []Hit{{p.Namespace, p.Workload, 1}}}
	if !at.Before(p.Until) {
		item.State, item.Result = Ended, Error
		item.say("from then on handshakes with this pod fail")
	}
	return item
}

// hitAll returns every workload with a proxy.
func (f *Facts) hitAll() []Hit {
	counts := map[Hit]int{}
	for _, p := range f.Proxies {
		counts[Hit{Namespace: p.Namespace, Workload: p.Workload}]++
	}
	out := make([]Hit, 0, len(counts))
	for h, n := range counts {
		h.Pods = n
		out = append(out, h)
	}
	slices.SortFunc(out, func(a, b Hit) int {
		return cmp.Or(strings.Compare(a.Namespace, b.Namespace), strings.Compare(a.Workload, b.Workload))
	})
	return out
}

func count(n int, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %s", n, many)
}
