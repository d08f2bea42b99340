/* SPDX-License-Identifier: Apache-2.0 */
/* A record as a line for people, the same in run, tail and search. */
#ifndef TL_CLI_FORMAT_H
#define TL_CLI_FORMAT_H

#include "userspace/record/record.h"

struct tl_format {
	bool colour; /* the reader is a terminal */
	bool date;   /* the day in front of the time */
};

/* Appends one line: local time of the syscall, severity, service, the request's id and how it is
 * known (or why it is not), body. Control bytes of the body are shown as \xNN, colours of its own
 * only where `colour` is set. Errors: -ENOBUFS. */
int tl_format_record(const struct tl_format *format, const struct tl_record *record,
		     struct tl_buf *out);

/* As tl_format_record for an HTTP exchange: method, path, status, duration. */
int tl_format_exchange(const struct tl_format *format, const struct tl_record *record,
		       struct tl_buf *out);

/* True when `fd` is a terminal that shows colours and NO_COLOR is not set. */
bool tl_format_colours(int fd);

#endif
