package tap

import (
	"strings"

	"github.com/tulle-mesh/tulle/mesh"
	"github.com/tulle-mesh/tulle/proxy/message"
)

// Bounds of one event: a head may have a megabyte.
const (
	maxText    = 2048
	maxFields  = 64
	fieldsSize = 8 << 10
)

// Redacted is what a watcher sees in place of a secret value.
const Redacted = "[redacted]"

// secretWords are words in the name of a header whose value gives access to something, or proves who somebody is. Words
// are separated by "-", "_" and ".". Sources: RFC 9110 §11, RFC 6265 §4, RFC 9449 §4, and the headers that cloud
// providers, API gateways and web frameworks document.
var secretWords = wordSet("authorization authentication auth oauth oidc saml bearer dpop jwt jws jwe assertion " +
	"token cookie cookie2 session sessionid sid secret password passwd passphrase passcode pin otp totp mfa " +
	"credential credentials apikey accesskey signature sig hmac csrf xsrf csrftoken xsrftoken accesstoken authtoken " +
	"clientcert cert")

// secretHeaders are further headers with secret values. Browsers send tokens to WebSocket servers as a subprotocol.
var secretHeaders = wordSet("sec-websocket-protocol")

// plainHeaders are headers with such a word, or whose last word is "key", that give access to nothing.
var plainHeaders = wordSet("sec-websocket-key idempotency-key surrogate-key cache-key partition-key routing-key")

// urlHeaders are headers with URLs, whose queries and fragments may have secrets.
var urlHeaders = wordSet(
	"referer location content-location link refresh x-original-url x-original-uri x-forwarded-uri " +
		"x-rewrite-url x-envoy-original-path x-forwarded-path x-request-uri")

func wordSet(list string) map[string]bool {
	set := map[string]bool{}
	for word := range strings.FieldsSeq(list) {
		set[word] = true
	}
	return set
}

// fields copies the field lines of a head. It leaves out those beyond the bounds and counts them.
func (h *Hub) fields(head *message.Head) (out []mesh.TapHeader, omitted uint32) {
	size := 0
	for name, value := range head.All() {
		size += min(len(name), maxText) + min(len(value), maxText)
	}
	if size == 0 {
		return nil, 0
	}
	var all strings.Builder // of all names and plain values: one allocation instead of two a line
	all.Grow(min(size, fieldsSize+2*maxText))
	out = make([]mesh.TapHeader, 0, min(head.Len(), maxFields))
	for name, value := range head.All() {
		if len(out) >= maxFields || all.Len() >= fieldsSize {
			omitted++
			continue
		}
		f := mesh.TapHeader{Name: add(&all, name)}
		switch h.kindOf(name) {
		case secretField:
			f.Value = Redacted
		case urlField:
			f.Value = h.shownURL(value)
		case plainField:
			f.Value = add(&all, value)
		}
		out = append(out, f)
	}
	return out, omitted
}

// add appends a text to the builder and returns it. Later appends do not change it.
func add(b *strings.Builder, raw []byte) string {
	begin := b.Len()
	b.Write(raw[:min(len(raw), maxText)])
	if len(raw) > maxText {
		b.WriteString("…")
	}
	return b.String()[begin:]
}

// fieldKind says how the value of a field is shown.
type fieldKind uint8

const (
	plainField fieldKind = iota
	secretField
	urlField
)

// maxName is the length of the longest name that is looked up. A longer one has no known meaning, so it is secret.
const maxName = 128

func (h *Hub) kindOf(name []byte) fieldKind {
	var buf [maxName]byte
	if len(name) > len(buf) {
		return secretField
	}
	lower, word, secret := buf[:len(name)], 0, false
	for i, c := range name {
		switch {
		case 'A' <= c && c <= 'Z':
			c += 'a' - 'A'
		case c == '-' || c == '_' || c == '.':
			secret = secret || secretWords[string(lower[word:i])]
			word = i + 1
		}
		lower[i] = c
	}
	last := lower[word:]
	secret = secret || string(last) == "key" || secretWords[string(last)] || secretHeaders[string(lower)]
	switch {
	case h.redacted[string(lower)] || secret && !plainHeaders[string(lower)]:
		return secretField
	case urlHeaders[string(lower)]:
		return urlField
	}
	return plainField
}

// text copies bytes of a head. It cuts what is too long.
func text(b []byte) string {
	if len(b) > maxText {
		return string(b[:maxText]) + "…"
	}
	return string(b)
}
