/* SPDX-License-Identifier: Apache-2.0 */
/* The API's answers, one function each, over a store that is opened for the answer. docs/web.md
 * says what they take and give. Any thread. */
#ifndef TL_WEB_API_H
#define TL_WEB_API_H

#include "userspace/base/buf.h"
#include "userspace/base/err.h"
#include "userspace/store/query.h"

#define TL_API_BUDGET_MS 150 /* what takes longer is answered in parts */
#define TL_API_LIMIT_MAX 5000

/* Looks an argument up, NULL when it is absent or empty. */
struct tl_api_request {
	const char *(*argument)(void *arg, const char *name);
	void *arg;
	const char *store; /* path */
	const char *state; /* the agent's folder, NULL none */
	uint64_t skipped;  /* records that streams left out since the start, for /api/health */
	unsigned streams;  /* open now */
};

/* Writes JSON. Errors: -EINVAL, -E2BIG a wrong argument; -EFBIG the answer is too large; -ENOENT
 * there is no store yet; what tl_store_reader_open and tl_store_query give else. */
typedef int tl_api_function(const struct tl_api_request *request, struct tl_buf *out,
			    struct tl_error *error);

tl_api_function tl_api_search, tl_api_tail, tl_api_request_of, tl_api_histogram, tl_api_services,
	tl_api_health;

/* Reads q, since, until and http. `query` keeps pointing into the arguments. Errors: -EINVAL,
 * -E2BIG. */
int tl_api_query(const struct tl_api_request *request, struct tl_query *query,
		 struct tl_error *error);

/* Reads a number of [low, high], `otherwise` when it is absent. Errors: -EINVAL. */
int tl_api_number(const struct tl_api_request *request, const char *name, int64_t low, int64_t high,
		  int64_t otherwise, int64_t *ret, struct tl_error *error);

#endif
