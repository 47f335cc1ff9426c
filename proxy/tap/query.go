package tap

import (
	"bytes"
	"iter"
	"strings"
)

// AllParameters means all query parameters, as the name of one to redact.
const AllParameters = "*"

// maxParameter is the length of the longest name of a parameter. What is longer is a value without a name.
const maxParameter = 64

// secretParameters are query parameters whose values are never shown. Sources: RFC 6749 §4.1 to 4.4, RFC 6750 §2.3,
// OpenID Connect Core §3, and the signed URLs of Amazon S3, Google Cloud Storage and Azure Blob Storage. Joined names,
// such as "user_token", are found by their words. So the list has what is secret only as a whole name, as "code" is.
var secretParameters = wordSet("access_token refresh_token id_token id_token_hint token auth authorization code " +
	"code_verifier state nonce assertion client_assertion client_secret secret password passwd pass pwd passcode pin " +
	"otp " +
	"api_key apikey api-key key sig signature jwt session sessionid session_id sid ticket samlrequest samlresponse " +
	"relaystate csrf xsrf csrf_token credential credentials x-amz-credential x-amz-security-token x-amz-signature " +
	"x-goog-credential x-goog-signature googleaccessid awsaccesskeyid")

// shownPath returns a path as it is shown: values of query parameters are redacted. It cuts what is too long.
func (h *Hub) shownPath(path []byte) string {
	if bytes.IndexByte(path, '?') < 0 {
		return text(path)
	}
	return h.join(path)
}

// shownURL returns the value of a header with a URL as it is shown: without user information and fragment, and with its
// query redacted. Only what is before the query has user information (RFC 3986 §3).
func (h *Hub) shownURL(value []byte) string {
	if !bytes.ContainsAny(value, "@?#") {
		return text(value)
	}
	value, fragment, _ := bytes.Cut(value, []byte("#"))
	target := value
	if i := bytes.IndexByte(value, '?'); i >= 0 {
		target = value[:i]
	}
	prefix := ""
	if scheme, rest, ok := bytes.Cut(target, twoSlashes); ok {
		authority := rest
		if i := bytes.IndexByte(rest, '/'); i >= 0 {
			authority = rest[:i]
		}
		if i := bytes.LastIndexByte(authority, '@'); i >= 0 {
			prefix = text(scheme) + "//" + Redacted
			value = value[len(scheme)+len(twoSlashes)+i:]
		}
	}
	out := prefix + h.join(value)
	if len(fragment) > 0 {
		out += "#" + Redacted
	}
	if len(out) > maxText+len("…") {
		out = out[:maxText] + "…"
	}
	return out
}

var twoSlashes = []byte("//")

// shownURLs is shownURL for a header that may have several URLs. It hides the value if a second one might have user
// information.
func (h *Hub) shownURLs(value []byte) string {
	target, query, _ := bytes.Cut(value, []byte("?"))
	if bytes.Count(target, twoSlashes) > 1 || bytes.Contains(query, twoSlashes) {
		return Redacted
	}
	return h.shownURL(value)
}

func (h *Hub) join(path []byte) string {
	var b strings.Builder
	cut := len(path) > maxText
	if cut {
		path = path[:maxText]
	}
	for piece := range h.pieces(path) {
		if b.Len()+len(piece) > maxText {
			cut = true
			break
		}
		b.Write(piece)
	}
	if cut {
		b.WriteString("…")
	}
	return b.String()
}

// hasPrefix reports whether a path, as it is shown, begins with a prefix. Nobody can guess a value that is not shown.
func (h *Hub) hasPrefix(path []byte, prefix string) bool {
	before, _, query := strings.Cut(prefix, "?")
	if len(path) < len(before) || string(path[:len(before)]) != before {
		return false
	}
	if !query {
		return true
	}
	for piece := range h.pieces(path[:min(len(path), maxText)]) {
		n := min(len(piece), len(prefix))
		if string(piece[:n]) != prefix[:n] {
			return false
		}
		if prefix = prefix[n:]; prefix == "" {
			return true
		}
	}
	return false
}

var (
	separator = []byte("&")
	redacted  = []byte(Redacted)
)

// pieces returns the parts of a path as it is shown.
func (h *Hub) pieces(path []byte) iter.Seq[[]byte] {
	return func(yield func([]byte) bool) {
		i := bytes.IndexByte(path, '?')
		if i < 0 {
			yield(path)
			return
		}
		if !yield(path[:i+1]) {
			return
		}
		for query, more := path[i+1:], true; more; {
			var parameter []byte
			if parameter, query, more = bytes.Cut(query, separator); len(parameter) > 0 {
				name, hide := h.hides(parameter)
				if !hide {
					name = parameter
				}
				if !yield(name) || hide && !yield(redacted) {
					return
				}
			}
			if more && !yield(separator) {
				return
			}
		}
	}
}

// hides reports whether the value of a parameter is not shown. name is what is shown before it, with the "=". A
// parameter without a name or without a value is itself a value: a token may end with "=".
func (h *Hub) hides(parameter []byte) (name []byte, hide bool) {
	i := bytes.IndexByte(parameter, '=')
	bare := i < 0 || i > maxParameter || len(bytes.Trim(parameter[i:], "=")) == 0
	if h.parameters == nil {
		if bare {
			return nil, true
		}
		return parameter[:i+1], true
	}
	if bare {
		return nil, i > maxParameter || len(parameter) > maxParameter
	}
	// Some servers also separate parameters by ";".
	for part := range bytes.SplitSeq(parameter, []byte(";")) {
		key, _, _ := bytes.Cut(part, []byte("="))
		if h.secretParameter(key) {
			return parameter[:i+1], true
		}
	}
	return nil, false
}

// secretParameter reports whether a name, once it is decoded, is one of those that are not shown, or is joined with one
// of them: it has a word that is secret in the name of a header too, or one that ends with a name of the user's list.
func (h *Hub) secretParameter(name []byte) bool {
	var lower [maxParameter]byte
	var words [2 * maxParameter]byte // lower, with a "-" where a word begins in camel case
	n, w, small := 0, 0, false
	for i := 0; i < len(name); i++ {
		if n == len(lower) {
			return true
		}
		c := name[i]
		if c == '%' && i+2 < len(name) {
			if high, low := unhex(name[i+1]), unhex(name[i+2]); high < 16 && low < 16 {
				c = high<<4 | low
				i += 2
			}
		}
		capital := 'A' <= c && c <= 'Z'
		if capital {
			c += 'a' - 'A'
			if small {
				words[w] = '-'
				w++
			}
		}
		small = 'a' <= c && c <= 'z' && !capital
		lower[n], words[w] = c, c
		n, w = n+1, w+1
	}
	whole := lower[:n]
	if secretParameters[string(whole)] || h.parameters[string(whole)] {
		return true
	}
	return h.joined(whole) || h.joined(words[:w]) || !plainHeaders[string(whole)] && hasSecretWord(words[:w])
}

// hasSecretWord reports whether a name in lower case has a secret word.
func hasSecretWord(name []byte) bool {
	for len(name) > 0 {
		i := bytes.IndexFunc(name, separatesWords)
		if i < 0 {
			return secretWord(name)
		}
		if secretWord(name[:i]) {
			return true
		}
		name = name[i+1:]
	}
	return false
}

// joined reports whether a name in lower case has a part that ends a word and is in the user's list, also as a plural
// or with a number.
func (h *Hub) joined(name []byte) bool {
	for listed := range h.parameters {
		for rest := name; ; {
			i := bytes.Index(rest, []byte(listed))
			if i < 0 {
				break
			}
			after := bytes.TrimLeft(bytes.TrimPrefix(rest[i+len(listed):], plural), "0123456789")
			if len(after) == 0 || separatesWords(rune(after[0])) {
				return true
			}
			rest = rest[i+1:]
		}
	}
	return false
}

var plural = []byte("s")

// separatesWords reports whether a character separates the words of a parameter's name, as in "user[card_number]".
func separatesWords(c rune) bool { return strings.ContainsRune("-_.[]~:$", c) }

// unhex returns the value of a hexadecimal digit, or 16.
func unhex(c byte) byte {
	switch {
	case '0' <= c && c <= '9':
		return c - '0'
	case 'a' <= c && c <= 'f':
		return c - 'a' + 10
	case 'A' <= c && c <= 'F':
		return c - 'A' + 10
	}
	return 16
}

// hiddenValue returns the parameter of a path's prefix whose value is compared with one that is not shown; "" if there
// is none.
func (h *Hub) hiddenValue(prefix string) string {
	_, query, _ := strings.Cut(prefix, "?")
	for parameter := range strings.SplitSeq(query, "&") {
		name, value, ok := strings.Cut(parameter, "=")
		if !ok || value == "" || strings.HasPrefix(Redacted, value) {
			continue
		}
		if _, hide := h.hides([]byte(parameter)); hide && !strings.HasPrefix(value, Redacted) {
			return name
		}
	}
	return ""
}
