package guest

import (
	"encoding/json"
	"fmt"
	"strings"
	"time"
)

// Request is an HTTP request to a host that the manifest grants with grants.http. It is no part of the message's
// transaction: it has happened even where the call does not complete, and is repeated with the call. Send
// [Message.ID] along, so that the other side can tell.
type Request struct {
	// Method, "" for GET.
	Method string
	// URL of http or https.
	URL     string
	Headers []HTTPHeader
	Body    []byte
	// Timeout from the sending to the last byte of the response; 0 leaves it to the call's deadline.
	Timeout time.Duration
	// BodyMax is how many bytes the response's body may have, 0 for 8 MiB.
	BodyMax int
}

// HTTPHeader is a field of a request or a response; names may repeat.
type HTTPHeader struct {
	Name, Value string
}

// Response has any status, 404 and 500 too; redirects are not followed.
type Response struct {
	Status int
	// Headers with names in lower case.
	Headers []HTTPHeader
	Body    []byte
}

const bodyMax = 8 << 20

// HTTP sends a request and reads the whole response. The error is a *[HTTPError]; unless it is HTTPDenied,
// HTTPAddressDenied or HTTPInvalid, the request may have arrived.
func (c *Call) HTTP(request Request) (*Response, error) {
	if request.Method == "" {
		request.Method = "GET"
	}
	if request.BodyMax == 0 {
		request.BodyMax = bodyMax
	}
	return c.host.HTTP(request)
}

// Header is the value of the first header with this name in any case, "" where there is none.
func (r *Response) Header(name string) string {
	for _, header := range r.Headers {
		if strings.EqualFold(header.Name, name) {
			return header.Value
		}
	}
	return ""
}

// JSON reads the body as JSON into what value points to.
func (r *Response) JSON(value any) error {
	return json.Unmarshal(r.Body, value)
}

// HTTPErrorKind is a reason for which there is no response.
type HTTPErrorKind string

const (
	// HTTPInvalid URL, method or header.
	HTTPInvalid HTTPErrorKind = "invalid"
	// HTTPDenied host, which the manifest does not grant.
	HTTPDenied HTTPErrorKind = "denied"
	// HTTPAddressDenied: the name leads to an address that is not public, and that the operator does not allow.
	HTTPAddressDenied HTTPErrorKind = "address-denied"
	// HTTPTimeout of the request or the call.
	HTTPTimeout HTTPErrorKind = "timeout"
	// HTTPTooLarge body of the response.
	HTTPTooLarge HTTPErrorKind = "too-large"
	// HTTPFailed for anything else.
	HTTPFailed HTTPErrorKind = "failed"
)

// HTTPError is the reason for which there is no response.
type HTTPError struct {
	Kind HTTPErrorKind
	URL  string
	// Host with its port where the URL has one; "" where the URL is none.
	Host string
	// Limit in bytes where HTTPTooLarge.
	Limit int
	// Reason of HTTPInvalid, and of HTTPFailed by the name that WASI has for it.
	Reason string
}

func (e *HTTPError) Error() string {
	switch e.Kind {
	case HTTPInvalid:
		return fmt.Sprintf("the request to `%s` cannot be sent: %s", e.URL, e.Reason)
	case HTTPDenied:
		return fmt.Sprintf("this handler may not send requests to `%s`: add it to `http` under `[grants]` in its manifest", e.Host)
	case HTTPAddressDenied:
		return fmt.Sprintf("`%s` has an address that is not public: the operator may allow it in `http.addresses`", e.Host)
	case HTTPTimeout:
		return fmt.Sprintf("`%s` did not answer in time", e.Host)
	case HTTPTooLarge:
		return fmt.Sprintf("the response of `%s` has more than %d bytes", e.Host, e.Limit)
	}
	return fmt.Sprintf("the request to `%s` failed: %s", e.Host, e.Reason)
}
