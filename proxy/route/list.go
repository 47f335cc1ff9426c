package route

// list holds the matchers of one place of the table in order of precedence.
type list struct {
	rest []*matcher
	// byValue holds the matchers that compare the header of test with a value, by that value. Hundreds of canaries by user
	// or tenant then cost one lookup.
	test    *fieldTest
	byValue map[string][]*matcher
}

// indexFrom is how many matchers must compare one header before it is worth an index.
const indexFrom = 8

// index moves the matchers that compare the most common header from rest to byValue.
func (l *list) index() {
	wanted := map[int]int{} // by slot of the header
	var most *fieldTest
	for _, m := range l.rest {
		if f := m.wants(); f != nil {
			if wanted[f.slot]++; most == nil || wanted[f.slot] > wanted[most.slot] {
				most = f
			}
		}
	}
	if most == nil || wanted[most.slot] < indexFrom {
		return
	}
	l.test, l.byValue = most, map[string][]*matcher{}
	var rest []*matcher
	for _, m := range l.rest {
		if f := m.wants(); f != nil && f.slot == most.slot {
			l.byValue[f.value] = append(l.byValue[f.value], m)
		} else {
			rest = append(rest, m)
		}
	}
	l.rest = rest
}

// wants returns the first header that the matcher compares with one value; nil if there is none.
func (m *matcher) wants() *fieldTest {
	for i := range m.headers {
		if m.headers[i].pattern == nil {
			return &m.headers[i]
		}
	}
	return nil
}

// first returns the first matcher of the list that holds and comes before best, or best.
func (l *list) first(r *request, best *matcher) *matcher {
	if l == nil {
		return best
	}
	if l.test != nil {
		if v, ok := r.header(l.test); ok {
			best = firstOf(l.byValue[string(v)], r, best)
		}
	}
	return firstOf(l.rest, r, best)
}

func firstOf(matchers []*matcher, r *request, best *matcher) *matcher {
	for _, m := range matchers {
		if m.order > best.order {
			return best
		}
		if m.holds(r) {
			return m
		}
	}
	return best
}
