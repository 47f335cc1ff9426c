package hpack

type pair struct{ name, value string }

// static is RFC 7541 Appendix A; index 0 is not used.
var static = [62]pair{
	{}, {":authority", ""}, {":method", "GET"}, {":method", "POST"}, {":path", "/"}, {":path", "/index.html"},
	{":scheme", "http"},
	{":scheme", "https"}, {":status", "200"}, {":status", "204"}, {":status", "206"}, {":status", "304"},
	{":status", "400"},
	{":status", "404"}, {":status", "500"}, {"accept-charset", ""}, {"accept-encoding", "gzip, deflate"},
	{"accept-language", ""},
	{"accept-ranges", ""}, {"accept", ""}, {"access-control-allow-origin", ""}, {"age", ""}, {"allow", ""},
	{"authorization", ""},
	{"cache-control", ""}, {"content-disposition", ""}, {"content-encoding", ""}, {"content-language", ""},
	{"content-length", ""},
	{"content-location", ""}, {"content-range", ""}, {"content-type", ""}, {"cookie", ""}, {"date", ""}, {"etag", ""},
	{"expect", ""},
	{"expires", ""}, {"from", ""}, {"host", ""}, {"if-match", ""}, {"if-modified-since", ""}, {"if-none-match", ""},
	{"if-range", ""},
	{"if-unmodified-since", ""}, {"last-modified", ""}, {"link", ""}, {"location", ""}, {"max-forwards", ""},
	{"proxy-authenticate", ""}, {"proxy-authorization", ""}, {"range", ""}, {"referer", ""}, {"refresh", ""},
	{"retry-after", ""},
	{"server", ""}, {"set-cookie", ""}, {"strict-transport-security", ""}, {"transfer-encoding", ""}, {"user-agent", ""},
	{"vary", ""},
	{"via", ""}, {"www-authenticate", ""},
}

// staticSlots finds the first static entry of a name by open addressing over a hash of the length and three bytes.
var staticSlots = newStaticSlots()

func newStaticSlots() (slots [256]uint8) {
	for i := len(static) - 1; i > 0; i-- {
		name := static[i].name
		slot := nameHash([]byte(name))
		for slots[slot] != 0 && static[slots[slot]].name != name {
			slot++
		}
		slots[slot] = uint8(i)
	}
	return slots
}

func nameHash(name []byte) uint8 {
	n := len(name)
	return uint8(n*37 + int(name[0])*7 + int(name[n/2])*3 + int(name[n-1])*11)
}

// staticIndex returns the first static entry that has the name. If an entry also has the value, exact is true and index
// is that entry.
func staticIndex(name, value []byte) (index int, exact bool) {
	if len(name) == 0 {
		return 0, false
	}
	for slot := nameHash(name); staticSlots[slot] != 0; slot++ {
		i := int(staticSlots[slot])
		if static[i].name != string(name) {
			continue
		}
		for j := i; j < len(static) && static[j].name == static[i].name; j++ {
			if static[j].value == string(value) {
				return j, true
			}
		}
		return i, false
	}
	return 0, false
}
