/* SPDX-License-Identifier: Apache-2.0 */
/* The worker's side of the pair: each call is one request and the wait for its reply. */
#include <string.h>
#include <sys/socket.h>

#include "agent/inspector_proto.h"

/* Where a reply goes. */
struct answer {
	void *data; /* at most `size` bytes of data are put here */
	size_t size;
	size_t len; /* out: bytes of data that came */
	int fd;	    /* out: descriptor that came with it (the caller's), or -1 */
};

#define PASSED_MAX                                                                                 \
	4 /* descriptors that one message can carry to us; more are dropped by the kernel */

/* Keeps the first descriptor that came and closes any other. */
static int take_fd(struct msghdr *message)
{
	int fds[PASSED_MAX], taken = -1;

	for (struct cmsghdr *c = CMSG_FIRSTHDR(message); c; c = CMSG_NXTHDR(message, c)) {
		size_t n = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);

		if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS || n > PASSED_MAX)
			continue;
		memcpy(fds, CMSG_DATA(c), n * sizeof(int));
		for (size_t i = 0; i < n; i++) {
			if (taken < 0)
				taken = fds[i];
			else
				close(fds[i]);
		}
	}
	return taken;
}

static int send_request(int fd, const void *request, size_t len)
{
	ssize_t n;

	do
		n = send(fd, request, len, MSG_NOSIGNAL);
	while (n < 0 && errno == EINTR);
	if (n < 0)
		return errno == ECONNRESET ? -EPIPE : -errno;
	return 0;
}

static int receive_reply(int fd, struct tl_inspect_reply *reply, struct answer *answer)
{
	struct iovec iov[2] = {{reply, sizeof(*reply)}, {answer->data, answer->size}};
	union {
		char bytes[CMSG_SPACE(PASSED_MAX * sizeof(int))];
		struct cmsghdr align;
	} control;
	struct msghdr message = {.msg_iov = iov,
				 .msg_iovlen = 2,
				 .msg_control = control.bytes,
				 .msg_controllen = sizeof(control)};
	ssize_t n;

	do
		n = recvmsg(fd, &message, MSG_CMSG_CLOEXEC);
	while (n < 0 && errno == EINTR);
	if (n == 0 || (n < 0 && errno == ECONNRESET))
		return -EPIPE;
	if (n < 0)
		return -errno;
	answer->fd = take_fd(&message);
	answer->len = (size_t)n < sizeof(*reply) ? 0 : (size_t)n - sizeof(*reply);
	if ((size_t)n < sizeof(*reply) || message.msg_flags & MSG_TRUNC ||
	    reply->len != answer->len) {
		closep(&answer->fd);
		return -EBADMSG;
	}
	return 0;
}

/* One request, one reply. Returns the reply's result; a descriptor is handed over only with one
 * that is no error. Errors: those of the request; -EPIPE the inspector is gone; -EBADMSG its reply
 * makes no sense. */
static int call(int fd, const void *request, size_t len, struct answer *answer)
{
	struct tl_inspect_reply reply = {0};
	int r;

	answer->fd = -1;
	r = send_request(fd, request, len);
	if (r == 0)
		r = receive_reply(fd, &reply, answer);
	if (r < 0)
		return r;
	if (reply.result < 0)
		closep(&answer->fd);
	return reply.result;
}

/* A call whose good replies carry exactly `size` bytes (0: none) and no descriptor. */
static int call_fixed(int fd, const void *request, size_t len, void *data, size_t size)
{
	struct answer answer = {.data = data, .size = size};
	int r = call(fd, request, len, &answer);

	closep(&answer.fd);
	return r >= 0 && answer.len != size ? -EBADMSG : r;
}

int tl_inspect_process(int fd, uint32_t tgid, struct tl_proc_info *ret_info, int *ret_exe_fd)
{
	struct tl_inspect_process_req request = {
		.type = TL_INSPECT_PROCESS, .tgid = tgid, .want_exe = ret_exe_fd != NULL};
	struct tl_proc_info info;
	struct answer answer = {.data = &info, .size = sizeof(info)};
	int r = call(fd, &request, sizeof(request), &answer);
	_cleanup_(closep) int exe = r < 0 ? -1 : answer.fd;

	if (r >= 0 && answer.len != sizeof(info))
		r = -EBADMSG;
	if (r < 0)
		return r;
	*ret_info = info;
	if (ret_exe_fd)
		*ret_exe_fd = TAKE_FD(exe);
	return 0;
}

int tl_inspect_pipe_reader(int fd, uint32_t tgid, const struct tl_file_id *file)
{
	struct tl_inspect_pipe_req request = {
		.type = TL_INSPECT_PIPE_READER, .tgid = tgid, .file = *file};

	return call_fixed(fd, &request, sizeof(request), NULL, 0);
}

int tl_inspect_decide(int fd, const struct tl_file_id *file, enum tl_verdict verdict)
{
	struct tl_inspect_decide_req request = {
		.type = TL_INSPECT_DECIDE, .verdict = verdict, .file = *file};

	return call_fixed(fd, &request, sizeof(request), NULL, 0);
}

int tl_inspect_ignore_sock(int fd, const struct tl_sock_key *sock)
{
	struct tl_inspect_sock_req request = {.type = TL_INSPECT_IGNORE_SOCK, .sock = *sock};

	return call_fixed(fd, &request, sizeof(request), NULL, 0);
}

int tl_inspect_set_unit(int fd, uint32_t tgid, uint64_t start_ns, const struct tl_proc *unit)
{
	struct tl_inspect_unit_req request = {
		.type = TL_INSPECT_SET_UNIT, .tgid = tgid, .start_ns = start_ns, .unit = *unit};

	return call_fixed(fd, &request, sizeof(request), NULL, 0);
}

int tl_inspect_module(int fd, uint32_t tgid, const char *glob, struct tl_module_info *ret,
		      int *ret_fd)
{
	struct tl_inspect_module_req request = {.type = TL_INSPECT_MODULE, .tgid = tgid};
	struct tl_module_info info;
	struct answer answer = {.data = &info, .size = sizeof(info)};
	int r;

	if (strlen(glob) >= sizeof(request.glob))
		return -EINVAL;
	strcpy(request.glob, glob);
	r = call(fd, &request, sizeof(request), &answer);
	if (r >= 0 && (answer.len != sizeof(info) || answer.fd < 0)) {
		closep(&answer.fd);
		r = -EBADMSG;
	}
	if (r < 0)
		return r;
	*ret = info;
	*ret_fd = answer.fd;
	return 0;
}

int tl_inspect_probe(int fd, uint32_t tgid, uint64_t start_ns, const struct tl_probe_at *at)
{
	struct tl_inspect_probe_req request = {
		.type = TL_INSPECT_PROBE, .tgid = tgid, .start_ns = start_ns, .at = *at};

	return call_fixed(fd, &request, sizeof(request), NULL, 0);
}

int tl_inspect_slot(int fd, uint32_t tgid, uint64_t address)
{
	struct tl_inspect_slot_req request = {
		.type = TL_INSPECT_SLOT, .tgid = tgid, .address = address};

	return call_fixed(fd, &request, sizeof(request), NULL, 0);
}

int tl_inspect_jvm(int fd, uint32_t tgid, const struct tl_jvm_words *words,
		   struct tl_jvm_layout *ret)
{
	struct tl_inspect_jvm_req request = {.type = TL_INSPECT_JVM, .tgid = tgid, .words = *words};
	struct tl_jvm_layout layout;
	int r = call_fixed(fd, &request, sizeof(request), &layout, sizeof(layout));

	if (r >= 0)
		*ret = layout;
	return r;
}

int tl_inspect_forget(int fd, const struct tl_file_id *file, struct tl_stream *ret_last)
{
	struct tl_inspect_file_req request = {.type = TL_INSPECT_FORGET, .file = *file};
	struct tl_stream last;
	int r = call_fixed(fd, &request, sizeof(request), &last, sizeof(last));

	if (r >= 0 && ret_last)
		*ret_last = last;
	return r;
}

int tl_inspect_stream(int fd, const struct tl_file_id *file, struct tl_stream *ret)
{
	struct tl_inspect_file_req request = {.type = TL_INSPECT_STREAM, .file = *file};
	struct tl_stream stream;
	int r = call_fixed(fd, &request, sizeof(request), &stream, sizeof(stream));

	if (r >= 0)
		*ret = stream;
	return r;
}

int tl_inspect_stats(int fd, struct tl_stats *ret_stats)
{
	struct tl_inspect_plain_req request = {.type = TL_INSPECT_STATS};
	struct tl_stats stats;
	int r = call_fixed(fd, &request, sizeof(request), &stats, sizeof(stats));

	if (r >= 0)
		*ret_stats = stats;
	return r;
}

int tl_inspect_scan(int fd)
{
	struct tl_inspect_plain_req request = {.type = TL_INSPECT_SCAN};

	return call_fixed(fd, &request, sizeof(request), NULL, 0);
}

int tl_inspect_streams(int fd, uint32_t *cursor, struct tl_stream_row *rows, size_t max)
{
	size_t n = max < TL_INSPECT_ROWS_MAX ? max : TL_INSPECT_ROWS_MAX;
	struct tl_inspect_streams_req request = {
		.type = TL_INSPECT_STREAMS, .cursor = *cursor, .max = (uint32_t)n};
	struct answer answer = {.data = rows, .size = n * sizeof(*rows)};
	int r = call(fd, &request, sizeof(request), &answer);

	closep(&answer.fd);
	if (r < 0)
		return r;
	if (answer.len != (size_t)r * sizeof(*rows))
		return -EBADMSG;
	*cursor += (uint32_t)r;
	return r;
}
