package tap

import (
	"strings"
	"testing"

	"github.com/tulle-mesh/tulle/mesh"
	"github.com/tulle-mesh/tulle/proxy/message"
)

func TestQueriesAreRedacted(t *testing.T) {
	for name, test := range map[string]struct {
		redact     []string // nil means what is the default
		path, want string
	}{
		"no query":                          {nil, "/login", "/login"},
		"an empty query":                    {nil, "/login?", "/login?"},
		"a value":                           {nil, "/login?token=s3cret", "/login?token=[redacted]"},
		"several values":                    {nil, "/a?x=1&y=2", "/a?x=[redacted]&y=[redacted]"},
		"a value with an equals sign":       {nil, "/a?x=s=3", "/a?x=[redacted]"},
		"a value without a name":            {nil, "/reset?s3cret", "/reset?[redacted]"},
		"a value without a name, in base64": {nil, "/reset?czNjcmV0Cg==&b=1", "/reset?[redacted]&b=[redacted]"},
		"a name that is too long to be one": {nil, "/a?" + strings.Repeat("s", 65) + "=1", "/a?[redacted]"},
		"a second question mark":            {nil, "/a?x=1?token=s3cret", "/a?x=[redacted]"},
		"a semicolon":                       {nil, "/a?x=1;token=s3cret", "/a?x=[redacted]"},
		"empty parameters":                  {nil, "/a?&&x=1&", "/a?&&x=[redacted]&"},
		"all, among others":                 {[]string{"x", "*"}, "/a?y=s3cret", "/a?y=[redacted]"},
		"one that is named":                 {[]string{"Card"}, "/a?card=s3cret&page=2", "/a?card=[redacted]&page=2"},
		"one that always is secret": {[]string{"card"}, "/a?Access_Token=s3cret&page=2",
			"/a?Access_Token=[redacted]&page=2"},
		"an encoded name":    {[]string{"card"}, "/a?%74ok%65n=s3cret", "/a?%74ok%65n=[redacted]"},
		"behind a semicolon": {[]string{"card"}, "/a?page=2;token=s3cret", "/a?page=[redacted]"},
		"a word alone":       {[]string{"card"}, "/a?wsdl&q=", "/a?wsdl&q="},
		"a long word alone":  {[]string{"card"}, "/a?" + strings.Repeat("s", 65), "/a?[redacted]"},
		"a path that is too long": {nil, "/" + strings.Repeat("a", maxText) + "?token=s3cret", "/" +
			strings.Repeat("a", maxText-1) + "…"},
		"a query that is too long": {nil, "/a?x=" + strings.Repeat("s", maxText), "/a?x=[redacted]…"},
		"more parameters than there is room": {nil, "/" + strings.Repeat("a", maxText-8) + "?x=1", "/" +
			strings.Repeat("a", maxText-8) + "?x=…"},
	} {
		t.Run(name, func(t *testing.T) {
			h := &Hub{}
			if test.redact != nil {
				h.Configure(mesh.PodRef{}, nil, test.redact)
			}
			if got := h.shownPath([]byte(test.path)); got != test.want {
				t.Errorf("got %q, want %q", got, test.want)
			}
			if got := h.shownPath([]byte(test.path)); strings.Contains(got, "s3cret") {
				t.Errorf("%q shows a secret", got)
			}
		})
	}
}

// TestSecretParameters lists which names hide their value beside a list of the user's own.
func TestSecretParameters(t *testing.T) {
	h := &Hub{}
	h.Configure(mesh.PodRef{}, nil, []string{"Card", "iban-no", "ssn"})
	for value, names := range map[string]string{
		Redacted: "token access_token user_token usertoken userToken tokenValue auth-token tokens token2 user[password] " +
			"user%5Bpassword%5D password_confirm newPassword Password2 X-Api-Key sessionId SESSIONID my.secret csrfToken code " +
			"card CARD cards card2 credit_card creditcard creditCard cardNumber card-number card_no user[card] user%5BCard%5D " +
			"iban-no client_iban-no ssn user.ssn ssns ssn_last4 " + strings.Repeat("n", maxParameter+1),
		"plain": "page q country_code order_state cardinal discarded idempotency-key tokenizer ssnx keyboard author " +
			"ibanno sort",
	} {
		for name := range strings.FieldsSeq(names) {
			want := "/a?" + name + "=" + value
			if len(name) > maxParameter {
				want = "/a?" + value
			}
			if got := h.shownPath([]byte("/a?" + name + "=plain")); got != want {
				t.Errorf("%s: got %q, want %q", name, got, want)
			}
		}
	}
}

// TestNobodyGuessesAValue shows that the filter of paths compares what is shown, so that no value can be guessed.
func TestNobodyGuessesAValue(t *testing.T) {
	for name, test := range map[string]struct {
		prefix string
		want   bool
	}{
		"a part of the path":    {"/log", true},
		"the whole path":        {"/login", true},
		"the question mark":     {"/login?", true},
		"a part of the name":    {"/login?tok", true},
		"the name":              {"/login?token=", true},
		"what is shown":         {"/login?token=[redacted]&", true},
		"the first byte":        {"/login?token=s", false},
		"the value":             {"/login?token=s3cret", false},
		"the next name":         {"/login?token=[redacted]&page", true},
		"another path":          {"/logout?token", false},
		"more than there is":    {"/login?token=[redacted]&page=[redacted]&", false},
		"a longer path":         {"/login/a?token", false},
		"the path and a suffix": {"/logina", false},
	} {
		t.Run(name, func(t *testing.T) {
			h := &Hub{}
			path := []byte("/login?token=s3cret&page=2")
			if got := h.hasPrefix(path, test.prefix); got != test.want {
				t.Errorf("got %v, want %v", got, test.want)
			}
		})
	}
}

// TestPrefixWithAHiddenValue shows which queries a proxy refuses because they never match.
func TestPrefixWithAHiddenValue(t *testing.T) {
	for name, test := range map[string]struct {
		redact       []string
		prefix, want string
	}{
		"no query":              {nil, "/a", ""},
		"a name":                {nil, "/a?tok", ""},
		"a name and no value":   {nil, "/a?token=", ""},
		"what is shown":         {nil, "/a?token=[redacted]&x", ""},
		"a part of it":          {nil, "/a?token=[red", ""},
		"a value":               {nil, "/a?token=s", "token"},
		"a second value":        {nil, "/a?x=[redacted]&token=s", "token"},
		"a value that is shown": {[]string{"card"}, "/a?page=2", ""},
		"a value that is not":   {[]string{"card"}, "/a?page=2&card=4", "card"},
	} {
		h := &Hub{}
		if test.redact != nil {
			h.Configure(mesh.PodRef{}, nil, test.redact)
		}
		if got := h.hiddenValue(test.prefix); got != test.want {
			t.Errorf("%s: got %q, want %q", name, got, test.want)
		}
	}
}

// shownField returns what is shown of a header's value.
func shownField(h *Hub, name, value string) string {
	var head message.Head
	head.Add(name, value)
	fields, _ := h.fields(&head)
	return fields[0].Value
}

func TestSecretHeaders(t *testing.T) {
	h := &Hub{}
	h.Configure(mesh.PodRef{}, []string{"X-Own"}, nil)
	for value, names := range map[string]string{
		Redacted: "Authorization authorization-bin Proxy-Authorization X-Forwarded-Authorization X-Authorization " +
			"Authentication-Info Cookie SET-COOKIE Set-Cookie2 X-Api-Key api_key Ocp-Apim-Subscription-Key X-Functions-Key " +
			"X-Auth-Token X-Vault-Token X-Gitlab-Token X-Amz-Security-Token X-Goog-Iap-Jwt-Assertion X-Amzn-Oidc-Accesstoken " +
			"X-Amzn-Oidc-Data X-Csrf-Token X-CSRFToken X-Xsrf-Token X-Hub-Signature-256 X-Shopify-Hmac-Sha256 DPoP " +
			"X-Session-Id X-Client-Secret X-Password X-Forwarded-Client-Cert Sec-WebSocket-Protocol x-own " +
			"X-Amz-Server-Side-Encryption-Customer-Key PHP-Auth-Pw X-ApiToken apitoken deploytoken X-IdToken X-RefreshToken " +
			"X-UserToken X-Access-Tokens X-Api-Keys Cookies X-SecretKey X-Passkey X-Api-Key-Id X-Token2 JSessionId X-Jws " +
			strings.Repeat("n", maxName+1),
		"plain": "Content-Type X-Request-Id L5d-Client-Id L5d-Dst-Override Traceparent X-B3-TraceId Sec-WebSocket-Key " +
			"Idempotency-Key X-Keyboard X-Tokenizer X-Forwarded-Host WWW-Authenticate User-Agent Etag X-Forwarded-For X-Author",
	} {
		for name := range strings.FieldsSeq(names) {
			if got := shownField(h, name, "plain"); got != value {
				t.Errorf("%s: got %q, want %q", name, got, value)
			}
		}
	}
}

// TestURLsInHeaders shows that a header does not show what a path would not.
func TestURLsInHeaders(t *testing.T) {
	for value, want := range map[string]string{
		"https://shop/a":                             "https://shop/a",
		"https://shop/a?token=s3cret":                "https://shop/a?token=[redacted]",
		"/callback?code=s3cret&state=s3cret#x":       "/callback?code=[redacted]&state=[redacted]#[redacted]",
		"https://app/#access_token=s3cret":           "https://app/#[redacted]",
		"https://user:s3cret@shop/a?x=s3cret":        "https://[redacted]@shop/a?x=[redacted]",
		"https://shop/@user":                         "https://shop/@user",
		"<https://shop/a?sig=s3cret>; rel=next":      "<https://shop/a?sig=[redacted]",
		"0; url=https://shop/reset?token=s3cret":     "0; url=https://shop/reset?token=[redacted]",
		"/verify?token=s3cret&email=joe@example.com": "/verify?token=[redacted]&email=[redacted]",
		"https://shop?x=s3cret@app":                  "https://shop?x=[redacted]",
	} {
		h := &Hub{}
		for _, name := range []string{"Location", "referer", "Link", "Refresh"} {
			if got := shownField(h, name, value); got != want {
				t.Errorf("%s: got %q, want %q", name, got, want)
			}
		}
	}
}

// TestSecondURLInAHeader shows that a query with a URL is hidden as any other, and that a header which may name several
// URLs shows none of them if it does.
func TestSecondURLInAHeader(t *testing.T) {
	for name, test := range map[string]struct{ header, value, want string }{
		"in the query": {"Referer", "/verify?token=s3cret&redirect=https://app.example.com&email=joe@example.com",
			"/verify?token=[redacted]&redirect=[redacted]&email=[redacted]"},
		"in the query of a URL": {"Location", "https://shop/?token=s3cret&to=https://joe:s3cret@app",
			"https://shop/?token=[redacted]&to=[redacted]"},
		"two links":        {"Link", "<https://a/b>, <https://user:s3cret@c/d>", Redacted},
		"a second link":    {"Link", "</a?page=2>, <https://user:s3cret@c/d>", Redacted},
		"a link, relative": {"Link", "</a>; rel=next, <//user:s3cret@c/d>", "</a>; rel=next, <//[redacted]@c/d>"},
		"a refresh":        {"Refresh", "0; url=https://a/?to=https://user:s3cret@c/", Redacted},
	} {
		t.Run(name, func(t *testing.T) {
			if got := shownField(&Hub{}, test.header, test.value); got != test.want {
				t.Errorf("got %q, want %q", got, test.want)
			}
		})
	}
}

// TestURLsInHeadersAreBounded shows that the bounds of the headers of an event hold for those with URLs.
func TestURLsInHeadersAreBounded(t *testing.T) {
	long := strings.Repeat("a", 2*maxText)
	for _, value := range []string{"https://" + long, long + "//user@" + long + "#x", "/?" + strings.Repeat("a=&", maxText)} {
		var head message.Head
		for range maxFields {
			head.Add("referer", value)
		}
		fields, omitted := (&Hub{}).fields(&head)
		size := 0
		for _, f := range fields {
			size += len(f.Name) + len(f.Value)
			if len(f.Value) > maxText+len("…") {
				t.Errorf("%.20q: a value of %d bytes, want at most %d", value, len(f.Value), maxText)
			}
		}
		if size > fieldsSize+2*maxText || len(fields)+int(omitted) != maxFields {
			t.Errorf("%.20q: %d bytes in %d fields, %d omitted", value, size, len(fields), omitted)
		}
	}
}

// FuzzShownURLHasNoSecret puts a secret into the query and into the user information of a URL, with anything before and
// behind it.
func FuzzShownURLHasNoSecret(f *testing.F) {
	f.Add("/verify", "&redirect=https://app.example.com&email=joe@example.com")
	f.Add("<https://a/b>, <", ">")
	f.Add("</a?page=2>, <", "/b?c=d@e//f")
	f.Add("0; url=", "#a")
	f.Add("//a@b", "=;/?@")
	f.Fuzz(func(t *testing.T, before, behind string) {
		const secret = "s3cret"
		if strings.Contains(before+behind, secret) {
			return
		}
		listed := &Hub{}
		listed.Configure(mesh.PodRef{}, nil, []string{"card"})
		for _, test := range []struct {
			hub           *Hub
			header, value string
		}{
			{&Hub{}, "Location", before + "?x=" + secret + behind},
			{&Hub{}, "Link", before + "?x=" + secret + behind},
			{listed, "Location", before + "?&token=" + secret + behind},
			{&Hub{}, "Location", "https://joe:" + secret + "@shop" + behind},
			{listed, "Referer", "https://joe:" + secret + "@shop" + behind},
			{&Hub{}, "Link", before + "https://joe:" + secret + "@shop" + behind},
			{listed, "Refresh", before + "https://joe:" + secret + "@shop" + behind},
		} {
			if got := shownField(test.hub, test.header, test.value); strings.Contains(got, secret) {
				t.Errorf("%s: %q is shown as %q", test.header, test.value, got)
			}
		}
	})
}

func FuzzShownPathHasNoValue(f *testing.F) {
	for _, value := range []string{"s3cret", "a=b", "%26", "=", "x;y", "a?b", "[redacted]"} {
		f.Add(value)
	}
	f.Fuzz(func(t *testing.T, value string) {
		if strings.ContainsAny(value, "&") {
			return
		}
		h := &Hub{}
		want := "/a?token=[redacted]"
		if strings.Trim(value, "=") == "" {
			want = "/a?[redacted]"
		}
		path := "/a?token=" + value
		if got := h.shownPath([]byte(path)); got != want && got != want+"…" {
			t.Errorf("%q: got %q, want %q", path, got, want)
		}
		var head message.Head
		head.SetPart(message.Path, path)
		if got := h.shownPath(head.Path()); got != want && got != want+"…" {
			t.Errorf("head of %q: got %q, want %q", path, got, want)
		}
	})
}
