package profile

import (
	"io"
	"text/template"
)

var profileTemplate = template.Must(template.New("profile").Parse(`# A ServiceProfile names the requests of a Service, for metrics, timeouts and retries. Its name is the Service's DNS name. In the
# Service's namespace it holds for every client, in a client's namespace for the clients of that namespace.
apiVersion: linkerd.io/v1alpha2
kind: ServiceProfile
metadata:
  name: {{ .Name }}
  namespace: {{ .Namespace }}
spec:
  # The first route whose condition holds counts; a request without a route is forwarded as it is.
  routes:
  - name: GET /books/{id} # the label rt_route of metrics
    condition:
      # All parts must hold. Besides method and pathRegex there are all, any and not, which hold conditions themselves.
      method: GET
      pathRegex: /books/\d+ # RE2; the whole path, without query
    # Which responses are failures; without response classes those with a status of 500 and more are, and gRPC's failures.
    responseClasses:
    - condition:
        status:
          min: 500
          max: 599
      isFailure: true
    # A request that fails is sent again, within the retry budget. Only for requests that may be processed twice.
    isRetryable: true
    # Bounds the request with all its retries.
    timeout: 300ms
  # Retries may add this share to the requests of the last ttl, and so many a second in any case.
  retryBudget:
    retryRatio: 0.2
    minRetriesPerSecond: 10
    ttl: 10s
`))

// WriteTemplate writes a profile of the Service with comments, to be filled in.
func WriteTemplate(w io.Writer, s Service) error {
	return profileTemplate.Execute(w, struct{ Name, Namespace string }{s.fqdn(), s.Namespace})
}
