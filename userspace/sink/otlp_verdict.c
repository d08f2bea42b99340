/* SPDX-License-Identifier: Apache-2.0 */
/* What a server's answer means, by the OTLP specification. */
#include "userspace/sink/otlp.h"

enum tl_otlp_verdict tl_otlp_judge(int status)
{
	if (status == 0 || status == 429 || status == 502 || status == 503 || status == 504)
		return TL_OTLP_NOT_NOW;
	if (status >= 200 && status < 300)
		return TL_OTLP_TAKEN;
	if (status < 400 || status == 401 || status == 403 || status == 404 || status == 405 ||
	    status == 407 || status == 415)
		return TL_OTLP_A_PERSON;
	return TL_OTLP_NEVER;
}

int tl_otlp_answer_of(struct tl_span body, struct tl_otlp_answer *answer)
{
	int r = tl_otlp_read_answer(TL_OTLP_PROTOBUF, body, answer);

	if (r < 0 || (body.len && body.data[0] == '{'))
		r = tl_otlp_read_answer(TL_OTLP_JSON, body, answer);
	return r;
}

int tl_otlp_advise(const struct tl_http_request *request, struct tl_error *error)
{
	const char *to_do = "is --url the OTLP/HTTP endpoint?";
	int code = -EPROTO;
	char reason[200];

	if (request->distrusted)
		return tl_error_set(
			error, -EACCES,
			"the target's certificate is not believed (%s); give the authority "
			"that signed it by --ca (OTEL_EXPORTER_OTLP_CERTIFICATE), and the "
			"name that stands in it by --url",
			request->why);
	tl_otlp_read_status(tl_buf_span(&request->answer), reason, sizeof(reason));
	if (request->status == 401 || request->status == 403 || request->status == 407) {
		code = -EACCES;
		to_do = "check the credentials (--headers-file, OTEL_EXPORTER_OTLP_HEADERS) and "
			"what they allow";
	} else if (request->status == 404 || request->status == 405) {
		to_do = "is the path right? --url gets /v1/logs behind it, --logs-url is used as "
			"it is";
	} else if (request->status == 415) {
		to_do = "try another --encoding or --request-compression";
	}
	return tl_error_set(error, code, "the target refuses records with status %d%s%s; %s",
			    request->status, reason[0] ? ": " : "", reason, to_do);
}
