package guest

import (
	"net/url"
	"slices"
	"strconv"
	"strings"

	abi "mailroom/guest/internal/abi/types"
	clock "mailroom/guest/internal/bindings/wasi_clocks_monotonic_clock"
	outgoing "mailroom/guest/internal/bindings/wasi_http_outgoing_handler"
	wire "mailroom/guest/internal/bindings/wasi_http_types"
	"mailroom/guest/internal/bindings/wasi_io_poll"
	"mailroom/guest/internal/bindings/wasi_io_streams"
)

const readMax = 64 << 10

// exchange is one request, from its parts to the last byte of its response. What it opens it closes itself: a
// resource that the collector drops could be dropped while the host writes into memory, which is a trap.
type exchange struct {
	request Request
	host    string
	// timer is nil where only the call's deadline bounds it.
	timer *wasi_io_poll.Pollable
}

func (sandbox) HTTP(request Request) (*Response, error) {
	target, err := url.Parse(request.URL)
	if err != nil || target.Host == "" || target.Scheme != "http" && target.Scheme != "https" {
		return nil, &HTTPError{Kind: HTTPInvalid, URL: request.URL, Reason: "it is no http or https URL"}
	}
	exchange := exchange{request: request, host: target.Host}
	if request.Timeout > 0 {
		exchange.timer = clock.SubscribeDuration(uint64(request.Timeout))
		defer exchange.timer.Drop()
	}
	type answer struct {
		response *Response
		err      error
	}
	result := quiet(func() answer {
		response, err := exchange.run(target)
		return answer{response, err}
	})
	return result.response, result.err
}

func (e *exchange) run(target *url.URL) (*Response, error) {
	request, err := e.outgoing(target)
	if err != nil {
		return nil, err
	}
	var body *wire.OutgoingBody
	if len(e.request.Body) > 0 {
		if result := request.Body(); result.IsOk() {
			body = result.Ok()
			defer body.Drop()
		}
	}
	handled := outgoing.Handle(request, abi.None[*wire.RequestOptions]())
	if handled.IsErr() {
		return nil, e.failed(handled.Err())
	}
	future := handled.Ok()
	defer future.Drop()
	if body != nil {
		if err := e.send(body); err != nil {
			return nil, err
		}
	}
	for {
		answer := future.Get()
		if answer.IsNone() {
			if err := e.wait(future.Subscribe()); err != nil {
				return nil, err
			}
			continue
		}
		if answer.Some().IsErr() {
			return nil, e.error(HTTPFailed, "the response was taken already")
		}
		response := answer.Some().Ok()
		if response.IsErr() {
			return nil, e.failed(response.Err())
		}
		return e.read(response.Ok())
	}
}

func (e *exchange) outgoing(target *url.URL) (*wire.OutgoingRequest, error) {
	headers := make([]abi.Tuple2[string, []uint8], 0, len(e.request.Headers)+1)
	for _, header := range e.request.Headers {
		headers = append(headers, abi.Tuple2[string, []uint8]{F0: valid(header.Name), F1: []byte(header.Value)})
	}
	// Without it the body would come in chunks, which not every server takes.
	if length := len(e.request.Body); length > 0 {
		headers = append(headers, abi.Tuple2[string, []uint8]{F0: "content-length", F1: []byte(strconv.Itoa(length))})
	}
	fields := wire.FieldsFromList(headers)
	if fields.IsErr() {
		return nil, e.error(HTTPInvalid, headerErrors[fields.Err().Tag()])
	}
	request := wire.MakeOutgoingRequest(fields.Ok())
	scheme := wire.MakeSchemeHttps()
	if target.Scheme == "http" {
		scheme = wire.MakeSchemeHttp()
	}
	path := target.RequestURI()
	for _, set := range []struct {
		result abi.Result[abi.Unit, abi.Unit]
		part   string
	}{
		{request.SetMethod(method(e.request.Method)), "method"},
		{request.SetScheme(abi.Some(scheme)), "scheme"},
		{request.SetAuthority(abi.Some(target.Host)), "host"},
		{request.SetPathWithQuery(abi.Some(path)), "path"},
	} {
		if set.result.IsErr() {
			request.Drop()
			return nil, e.error(HTTPInvalid, "its "+set.part+" is none")
		}
	}
	return request, nil
}

var headerErrors = map[uint8]string{
	wire.HeaderErrorInvalidSyntax: "a header is none",
	wire.HeaderErrorForbidden:     "a header is one that belongs to the connection",
	wire.HeaderErrorImmutable:     "its headers cannot be changed",
}

func method(name string) wire.Method {
	switch strings.ToUpper(name) {
	case "GET":
		return wire.MakeMethodGet()
	case "HEAD":
		return wire.MakeMethodHead()
	case "POST":
		return wire.MakeMethodPost()
	case "PUT":
		return wire.MakeMethodPut()
	case "DELETE":
		return wire.MakeMethodDelete()
	case "CONNECT":
		return wire.MakeMethodConnect()
	case "OPTIONS":
		return wire.MakeMethodOptions()
	case "TRACE":
		return wire.MakeMethodTrace()
	case "PATCH":
		return wire.MakeMethodPatch()
	}
	return wire.MakeMethodOther(valid(name))
}

// send writes the body. A server may answer before it has read all of it: what it does not take is no error.
func (e *exchange) send(body *wire.OutgoingBody) error {
	if result := body.Write(); result.IsOk() {
		stream := result.Ok()
		whole, err := e.write(stream)
		stream.Drop()
		if err != nil || !whole {
			return err
		}
	}
	if finished := wire.OutgoingBodyFinish(body, abi.None[*wire.Fields]()); finished.IsErr() {
		return e.failed(finished.Err())
	}
	return nil
}

// write tells whether all of the body was taken.
func (e *exchange) write(stream *wasi_io_streams.OutputStream) (bool, error) {
	for rest := e.request.Body; len(rest) > 0; {
		room := stream.CheckWrite()
		if room.IsErr() {
			dropStreamError(room.Err())
			return false, nil
		}
		now := min(room.Ok(), uint64(len(rest)))
		if now == 0 {
			if err := e.wait(stream.Subscribe()); err != nil {
				return false, err
			}
			continue
		}
		if written := stream.Write(rest[:now]); written.IsErr() {
			dropStreamError(written.Err())
			return false, nil
		}
		rest = rest[now:]
	}
	return true, nil
}

func (e *exchange) read(incoming *wire.IncomingResponse) (*Response, error) {
	defer incoming.Drop()
	response := &Response{Status: int(incoming.Status())}
	fields := incoming.Headers()
	for _, entry := range fields.Entries() {
		response.Headers = append(response.Headers, HTTPHeader{strings.ToLower(entry.F0), string(entry.F1)})
	}
	fields.Drop()
	consumed := incoming.Consume()
	if consumed.IsErr() {
		return response, nil
	}
	body := consumed.Ok()
	defer body.Drop()
	streamed := body.Stream()
	if streamed.IsErr() {
		return response, nil
	}
	stream := streamed.Ok()
	defer stream.Drop()
	// Joined at the end, since a growing slice would leave garbage that nobody collects meanwhile.
	var parts [][]byte
	for size := 0; ; {
		result := stream.Read(readMax)
		if result.IsErr() {
			if failure := result.Err(); failure.Tag() == wasi_io_streams.StreamErrorLastOperationFailed {
				return nil, e.broken(failure)
			}
			response.Body = slices.Concat(parts...)
			return response, nil
		}
		if len(result.Ok()) == 0 {
			if err := e.wait(stream.Subscribe()); err != nil {
				return nil, err
			}
			continue
		}
		parts = append(parts, result.Ok())
		if size += len(result.Ok()); size > e.request.BodyMax {
			return nil, e.error(HTTPTooLarge, "")
		}
	}
}

// broken is why the body ended too early.
func (e *exchange) broken(failure wasi_io_streams.StreamError) error {
	defer dropStreamError(failure)
	cause := failure.LastOperationFailed()
	if code := wire.HttpErrorCode(cause); code.IsSome() {
		return e.failed(code.Some())
	}
	return e.error(HTTPFailed, cause.ToDebugString())
}

func dropStreamError(failure wasi_io_streams.StreamError) {
	if failure.Tag() == wasi_io_streams.StreamErrorLastOperationFailed {
		failure.LastOperationFailed().Drop()
	}
}

// wait blocks until what was subscribed to is ready, or the time is up.
func (e *exchange) wait(ready *wasi_io_poll.Pollable) error {
	defer ready.Drop()
	if e.timer == nil {
		ready.Block()
		return nil
	}
	wasi_io_poll.Poll([]*wasi_io_poll.Pollable{ready, e.timer})
	if !ready.Ready() && e.timer.Ready() {
		return e.error(HTTPTimeout, "")
	}
	return nil
}

func (e *exchange) error(kind HTTPErrorKind, reason string) error {
	return &HTTPError{Kind: kind, URL: e.request.URL, Host: e.host, Limit: e.request.BodyMax, Reason: reason}
}

// errorCodes are the names of wasi:http/types.error-code, by its tags.
var errorCodes = [...]string{
	"DNS-timeout", "DNS-error", "destination-not-found", "destination-unavailable", "destination-IP-prohibited",
	"destination-IP-unroutable", "connection-refused", "connection-terminated", "connection-timeout",
	"connection-read-timeout", "connection-write-timeout", "connection-limit-reached", "TLS-protocol-error",
	"TLS-certificate-error", "TLS-alert-received", "HTTP-request-denied", "HTTP-request-length-required",
	"HTTP-request-body-size", "HTTP-request-method-invalid", "HTTP-request-URI-invalid",
	"HTTP-request-URI-too-long", "HTTP-request-header-section-size", "HTTP-request-header-size",
	"HTTP-request-trailer-section-size", "HTTP-request-trailer-size", "HTTP-response-incomplete",
	"HTTP-response-header-section-size", "HTTP-response-header-size", "HTTP-response-body-size",
	"HTTP-response-trailer-section-size", "HTTP-response-trailer-size", "HTTP-response-transfer-coding",
	"HTTP-response-content-coding", "HTTP-response-timeout", "HTTP-upgrade-failed", "HTTP-protocol-error",
	"loop-detected", "configuration-error", "internal-error",
}

func (e *exchange) failed(code wire.ErrorCode) error {
	switch code.Tag() {
	case wire.ErrorCodeHttpRequestDenied:
		return e.error(HTTPDenied, "")
	case wire.ErrorCodeDestinationIpProhibited:
		return e.error(HTTPAddressDenied, "")
	case wire.ErrorCodeHttpResponseTimeout, wire.ErrorCodeConnectionTimeout,
		wire.ErrorCodeConnectionReadTimeout, wire.ErrorCodeConnectionWriteTimeout, wire.ErrorCodeDnsTimeout:
		return e.error(HTTPTimeout, "")
	case wire.ErrorCodeInternalError:
		if words := code.InternalError(); words.IsSome() {
			return e.error(HTTPFailed, words.Some())
		}
	}
	return e.error(HTTPFailed, errorCodes[code.Tag()])
}
