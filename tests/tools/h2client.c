/* SPDX-License-Identifier: Apache-2.0 */
/* An HTTP/2 client on a plain socket: `h2client PORT COUNT AT-ONCE` asks COUNT times on one
 * connection, AT-ONCE streams at a time, each with an id of its own (x-request-id: h2-id-N, path
 * /h2/N). Exit status 0: every answer was 200. */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <nghttp2/nghttp2.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

struct client {
	int fd;
	int count, asked, open, good;
};

static void die(const char *what)
{
	perror(what);
	exit(1);
}

static int on_header(nghttp2_session *session, const nghttp2_frame *frame, const uint8_t *name,
		     size_t name_len, const uint8_t *value, size_t value_len, uint8_t flags,
		     void *arg)
{
	struct client *client = arg;

	(void)session;
	(void)frame;
	(void)flags;
	if (name_len == 7 && !memcmp(name, ":status", 7))
		client->good += value_len == 3 && !memcmp(value, "200", 3);
	return 0;
}

static int on_close(nghttp2_session *session, int32_t stream, uint32_t error, void *arg)
{
	struct client *client = arg;

	(void)session;
	(void)stream;
	(void)error;
	client->open--;
	return 0;
}

static nghttp2_nv field(const char *name, const char *value)
{
	return (nghttp2_nv){(uint8_t *)name, (uint8_t *)value, strlen(name), strlen(value), 0};
}

static void ask(nghttp2_session *session, struct client *client)
{
	char path[64], id[32];
	nghttp2_nv fields[] = {field(":method", "GET"), field(":scheme", "http"),
			       field(":authority", "127.0.0.1"), field(":path", path),
			       field("x-request-id", id)};

	snprintf(path, sizeof(path), "/h2/%d?secret=1", ++client->asked);
	snprintf(id, sizeof(id), "h2-id-%d", client->asked);
	fields[3] = field(":path", path);
	fields[4] = field("x-request-id", id);
	if (nghttp2_submit_request(session, NULL, fields, 5, NULL, NULL) < 0)
		die("request");
	client->open++;
}

static void send_all(nghttp2_session *session, const struct client *client)
{
	const uint8_t *data;
	ssize_t n;

	while ((n = nghttp2_session_mem_send(session, &data)) > 0)
		if (write(client->fd, data, (size_t)n) != n)
			die("write");
}

static int dial(int port)
{
	struct sockaddr_in a = {.sin_family = AF_INET,
				.sin_port = htons((uint16_t)port),
				.sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), one = 1;

	if (fd < 0 || connect(fd, (struct sockaddr *)&a, sizeof(a)) < 0)
		die("connect");
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	return fd;
}

int main(int argc, char **argv)
{
	struct client client = {0};
	nghttp2_session_callbacks *callbacks;
	nghttp2_session *session;
	uint8_t buf[16384];
	ssize_t n;

	if (argc != 4) {
		fprintf(stderr, "usage: h2client PORT COUNT AT-ONCE\n");
		return 2;
	}
	client.fd = dial(atoi(argv[1]));
	client.count = atoi(argv[2]);
	if (nghttp2_session_callbacks_new(&callbacks))
		die("callbacks");
	nghttp2_session_callbacks_set_on_header_callback(callbacks, on_header);
	nghttp2_session_callbacks_set_on_stream_close_callback(callbacks, on_close);
	if (nghttp2_session_client_new(&session, callbacks, &client) ||
	    nghttp2_submit_settings(session, 0, NULL, 0))
		die("session");
	while (client.asked < client.count || client.open) {
		while (client.asked < client.count && client.open < atoi(argv[3]))
			ask(session, &client);
		send_all(session, &client);
		n = read(client.fd, buf, sizeof(buf));
		if (n <= 0 || nghttp2_session_mem_recv(session, buf, (size_t)n) != n)
			die("answer");
	}
	nghttp2_session_del(session);
	nghttp2_session_callbacks_del(callbacks);
	printf("%d of %d answers are 200\n", client.good, client.count);
	return client.good == client.count ? 0 : 1;
}
