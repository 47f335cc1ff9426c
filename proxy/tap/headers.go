package tap

import (
	"bytes"
	"strings"

	"github.com/tulle-mesh/tulle/mesh"
	"github.com/tulle-mesh/tulle/proxy/message"
)

// Bounds of one event: a head may have a megabyte.
const (
	maxText    = mesh.MaxTapText
	maxFields  = mesh.MaxTapHeaders
	fieldsSize = mesh.MaxTapHeaderBytes
)

// Redacted is what a watcher sees in place of a secret value.
const Redacted = "[redacted]"

// secretWords are words in the name of a header whose value gives access to something, or proves who somebody is. Words
// are separated by "-", "_" and ".". Sources: RFC 9110 §11, RFC 6265 §4, RFC 9449 §4, and the headers that cloud
// providers, API gateways and web frameworks document.
var secretWords = wordSet("authorization authentication auth oauth oidc saml bearer dpop jwt jws jwe assertion " +
	"session sid passphrase passcode pin otp totp mfa credential signature sig hmac csrf xsrf clientcert cert")

// secretEnds end secret words: names are joined too, as in "apitoken" and "secretkey".
var secretEnds = []string{"token", "cookie", "secret", "password", "passwd", "key", "credential", "sessionid"}

// secretHeaders are further headers with secret values. Browsers send tokens to WebSocket servers as a subprotocol.
var secretHeaders = wordSet("sec-websocket-protocol")

// plainHeaders are headers with such a word that give access to nothing.
var plainHeaders = wordSet("sec-websocket-key idempotency-key surrogate-key cache-key partition-key routing-key")

// urlHeaders are headers with a URL, whose query and fragment may have secrets.
var urlHeaders = wordSet(
	"referer location content-location x-original-url x-original-uri x-forwarded-uri " +
		"x-rewrite-url x-envoy-original-path x-forwarded-path x-request-uri")

// urlListHeaders are headers that may have several URLs, or a URL behind something else.
var urlListHeaders = wordSet("link refresh")

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
	size = 0 // of out
	for name, value := range head.All() {
		if len(out) >= maxFields || size >= fieldsSize {
			omitted++
			continue
		}
		f := mesh.TapHeader{Name: add(&all, name)}
		switch h.kindOf(name) {
		case secretField:
			f.Value = Redacted
		case urlField:
			f.Value = h.shownURL(value)
		case urlListField:
			f.Value = h.shownURLs(value)
		case plainField:
			f.Value = add(&all, value)
		}
		size += len(f.Name) + len(f.Value)
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
	urlListField
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
			secret = secret || secretWord(lower[word:i])
			word = i + 1
		}
		lower[i] = c
	}
	secret = secret || secretWord(lower[word:]) || secretHeaders[string(lower)]
	switch {
	case h.redacted[string(lower)] || secret && !plainHeaders[string(lower)]:
		return secretField
	case urlHeaders[string(lower)]:
		return urlField
	case urlListHeaders[string(lower)]:
		return urlListField
	}
	return plainField
}

// secretWord reports whether a word is secret, also as a plural or with a number, as in "cookie2".
func secretWord(word []byte) bool {
	if secretWords[string(word)] {
		return true
	}
	word = bytes.TrimSuffix(bytes.TrimRight(word, "0123456789"), []byte("s"))
	for _, end := range secretEnds {
		if len(word) >= len(end) && string(word[len(word)-len(end):]) == end {
			return true
		}
	}
	return secretWords[string(word)]
}

// text copies bytes of a head. It cuts what is too long.
func text(b []byte) string {
	if len(b) > maxText {
		return string(b[:maxText]) + "…"
	}
	return string(b)
}

// word is text for a method or a scheme. It does not copy the usual ones.
func word(b []byte) string {
	switch string(b) {
	case "GET":
		return "GET"
	case "POST":
		return "POST"
	case "http":
		return "http"
	case "https":
		return "https"
	}
	return text(b)
}
