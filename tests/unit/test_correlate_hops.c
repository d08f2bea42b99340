/* SPDX-License-Identifier: Apache-2.0 */
/* Chains: the two ends of a connection, parents, inherited ids, and relays. */
#include "tests/unit/correlate_fixture.h"

#define CONFIRMS 10

/* A TCP connection whose ends are both watched, as the kernel tells of them. */
struct link {
	unsigned client, server; /* numbers of the ends' sockets */
	uint32_t request_seq, response_seq;
	uint16_t port;
	bool nat; /* the server sees another address */
};

static uint32_t links;

static struct link link_new(void)
{
	links++;
	return (struct link){.client = 10000 + 2 * links,
			     .server = 10001 + 2 * links,
			     .request_seq = 7777 * links,
			     .response_seq = 0xfffffff0u - links,
			     .port = (uint16_t)(1024 + links)};
}

/* `len` bytes at `from` of a direction are moved by one of the ends. */
static void move(struct bed *bed, const struct link *link, const struct who *who, bool server,
		 bool received, uint32_t seq, const char *text)
{
	unsigned socket = server ? link->server : link->client;
	struct tl_ev_wire e = {.h = head_of(bed, who, TL_EV_WIRE),
			       .sock = 0x1000 + socket,
			       .sock_ino = socket,
			       .call_len = strlen(text),
			       .family = server ? TL_SOCK_INET6 : TL_SOCK_INET,
			       .placed = 1,
			       .seq = seq};
	uint8_t *client_address = server ? e.remote_addr : e.local_addr,
		*server_address = server ? e.local_addr : e.remote_addr;

	e.h.len = (uint32_t)e.call_len;
	e.h.flags = received ? TL_EVF_RECV : 0;
	e.h.syscall_class = received ? TL_CALL_READ : TL_CALL_WRITE;
	e.local_port = server ? 80 : link->port;
	e.remote_port = server ? link->port : 80;
	if (server) {
		client_address[10] = client_address[11] = 0xff;
		server_address[10] = server_address[11] = 0xff;
		client_address += 12;
		server_address += 12;
	}
	memcpy(client_address, "\x0a\0\0\1", 4);
	memcpy(server_address, "\x0a\0\0\2", 4);
	if (link->nat && server)
		client_address[3] = 99;
	e.base_in = server ? 7777 * (link->port - 1024u) : 0xfffffff0u - (link->port - 1024u);
	e.base_out = server ? 0xfffffff0u - (link->port - 1024u) : 7777 * (link->port - 1024u) - 1;
	tl_corr_wire(bed->corr, &e, text);
}

static void ask_path(struct bed *bed, struct link *link, const struct who *client,
		     const struct who *server, const char *path, const char *headers)
{
	char text[512];

	snprintf(text, sizeof(text), "GET %s HTTP/1.1\r\nHost: h\r\n%s\r\n", path, headers);
	if (client)
		move(bed, link, client, false, false, link->request_seq, text);
	if (server)
		move(bed, link, server, true, true, link->request_seq, text);
	link->request_seq += (uint32_t)strlen(text);
}

static void ask(struct bed *bed, struct link *link, const struct who *client,
		const struct who *server)
{
	ask_path(bed, link, client, server, "/p", "");
}

static void reply(struct bed *bed, struct link *link, const struct who *server,
		  const struct who *client)
{
	static const char text[] = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

	if (server)
		move(bed, link, server, true, false, link->response_seq, text);
	if (client)
		move(bed, link, client, false, true, link->response_seq, text);
	link->response_seq += sizeof(text) - 1;
}

static const struct who goroutine = {1, 11, 5, TL_UNIT_GOROUTINE},
			stranger = {1, 11, 6, TL_UNIT_GOROUTINE},
			next = {2, 21, 7, TL_UNIT_GOROUTINE}, third = {3, 31, 8, TL_UNIT_GOROUTINE};

static void init(struct bed *bed)
{
	bed_init(bed, (struct tl_corr_options){.gate_confirms = CONFIRMS});
}

static void both_ends_give_a_request_the_same_id(void **state)
{
	struct bed a, b;
	struct link link = link_new(), seen = link;
	char first[64];

	(void)state;
	/* Two agents, each with one end. */
	init(&a);
	init(&b);
	for (int i = 0; i < 2; i++) {
		ask(&a, &seen, &stranger, NULL);
		reply(&a, &seen, NULL, &stranger);
		ask(&b, &link, NULL, &next);
		assert_id(line(&b, &next), TL_HOW_UNIT, a.exchange_id);
		assert_int_equal(strlen(a.exchange_id), 32);
		if (i)
			assert_string_not_equal(first, a.exchange_id);
		memcpy(first, a.exchange_id, sizeof(first));
		reply(&b, &link, &next, NULL);
		assert_string_equal(b.exchange_id, a.exchange_id);
	}
	bed_done(&a);
	bed_done(&b);
}

static void behind_nat_each_end_has_an_id_of_its_own(void **state)
{
	struct bed bed;
	struct link link = link_new();
	char id[64];

	(void)state;
	init(&bed);
	link.nat = true;
	ask(&bed, &link, &stranger, &next);
	reply(&bed, &link, &next, NULL);
	memcpy(id, bed.exchange_id, sizeof(id));
	reply(&bed, &link, NULL, &stranger);
	bed_done(&bed);
}

static void bytes_that_moved_unseen_take_the_place_away(void **state)
{
	struct bed a, b;
	struct link link = link_new(), seen;

	(void)state;
	init(&a);
	init(&b);
	ask(&a, &link, &stranger, NULL);
	reply(&a, &link, NULL, &stranger);
	link.request_seq += 100;
	seen = link;
	ask(&a, &seen, &stranger, NULL);
	ask(&b, &link, NULL, &next);
	reply(&a, &seen, NULL, &stranger);
	reply(&b, &link, &next, NULL);
	assert_int_equal(strlen(a.exchange_id), 32);
	assert_string_not_equal(a.exchange_id, b.exchange_id);
	bed_done(&a);
	bed_done(&b);
}

static void a_chain_of_units_has_the_id_of_its_root(void **state)
{
	struct bed bed;
	struct link in = link_new(), one = link_new(), two = link_new();
	struct noted *root;
	char middle[33];

	(void)state;
	init(&bed);
	ask(&bed, &in, NULL, &goroutine);
	root = line(&bed, &goroutine);
	assert_int_equal(root->how, TL_HOW_UNIT);
	ask(&bed, &one, &goroutine, &next);
	ask(&bed, &two, &next, &third);
	assert_id(line(&bed, &third), TL_HOW_UNIT, root->id);
	assert_id(line(&bed, &next), TL_HOW_UNIT, root->id);
	reply(&bed, &two, &third, &next);
	assert_string_equal(bed.exchange_id, root->id);
	/* Told by both ends, with the same name and the same parent. */
	assert_string_equal(bed.hop, bed.hop_before);
	memcpy(middle, bed.parent, sizeof(middle));
	reply(&bed, &one, &next, &goroutine);
	assert_string_equal(bed.hop, middle);
	assert_string_equal(bed.parent, root->id);
	reply(&bed, &in, &goroutine, NULL);
	assert_string_equal(bed.exchange_id, root->id);
	assert_string_equal(bed.hop, root->id);
	assert_string_equal(bed.parent, "");
	bed_done(&bed);
}

static void a_sent_id_is_handed_down_where_the_call_carries_none(void **state)
{
	struct bed bed;
	struct link in = link_new(), out = link_new(), own = link_new();

	(void)state;
	init(&bed);
	ask_path(&bed, &in, NULL, &goroutine, "/p", "X-Request-Id: sent-1\r\n");
	ask(&bed, &out, &goroutine, &next);
	assert_id(line(&bed, &next), TL_HOW_UNIT, "sent-1");
	reply(&bed, &out, &next, &goroutine);
	ask_path(&bed, &own, &goroutine, &third, "/q", "X-Request-Id: sent-2\r\n");
	assert_id(line(&bed, &third), TL_HOW_UNIT, "sent-2");
	bed_done(&bed);
}

/* The client's call returns after the server has read: its event comes second. */
static void the_ends_may_tell_in_any_order(void **state)
{
	struct bed bed;
	struct link in = link_new(), out = link_new(), seen = out;

	(void)state;
	init(&bed);
	ask_path(&bed, &in, NULL, &goroutine, "/p", "X-Request-Id: sent-1\r\n");
	ask(&bed, &out, NULL, &next);
	ask(&bed, &seen, &goroutine, NULL);
	assert_id(line(&bed, &next), TL_HOW_UNIT, "sent-1");
	bed_done(&bed);
}

static void an_id_that_a_line_carries_does_not_change(void **state)
{
	struct bed bed;
	struct link in = link_new(), out = link_new(), seen = out;
	struct noted *early;

	(void)state;
	init(&bed);
	ask_path(&bed, &in, NULL, &goroutine, "/p", "X-Request-Id: sent-1\r\n");
	ask(&bed, &out, NULL, &next);
	early = line(&bed, &next);
	ask(&bed, &seen, &goroutine, NULL);
	assert_id(line(&bed, &next), TL_HOW_UNIT, early->id);
	assert_int_equal(strlen(early->id), 32);
	bed_done(&bed);
}

/* A unix socket's end names the other one. */
static void unix_move(struct bed *bed, unsigned socket, unsigned peer, const struct who *who,
		      bool received, const char *text)
{
	struct tl_ev_wire e = {.h = head_of(bed, who, TL_EV_WIRE),
			       .sock = 0x1000 + socket,
			       .sock_ino = socket,
			       .call_len = strlen(text),
			       .family = TL_SOCK_UNIX};
	uint64_t name[2] = {0x1000 + peer, peer};

	memcpy(e.remote_addr, name, sizeof(name));
	e.h.len = (uint32_t)e.call_len;
	e.h.flags = received ? TL_EVF_RECV : 0;
	tl_corr_wire(bed->corr, &e, text);
}

static void over_a_unix_socket_an_id_is_handed_down_too(void **state)
{
	static const char text[] = "GET /u HTTP/1.1\r\nHost: h\r\n\r\n";
	struct bed bed;
	struct link in = link_new();

	(void)state;
	init(&bed);
	ask_path(&bed, &in, NULL, &goroutine, "/p", "X-Request-Id: sent-1\r\n");
	unix_move(&bed, 501, 502, &goroutine, false, text);
	unix_move(&bed, 502, 501, &next, true, text);
	assert_id(line(&bed, &next), TL_HOW_UNIT, "sent-1");
	bed_done(&bed);
}

/* Go's net/http: a goroutine of each pooled connection writes what handlers ask for. */
static const struct who writer = {1, 11, 77, TL_UNIT_GOROUTINE};

static void unit_event(struct bed *bed, const struct who *who, uint8_t type, uint8_t flags,
		       uint64_t parent)
{
	struct tl_ev_unit e = {.h = head_of(bed, who, type), .parent = parent};

	e.h.flags = flags;
	if (type == TL_EV_CALL)
		tl_corr_call(bed->corr, &e);
	else
		tl_corr_unit(bed->corr, &e);
}

static void a_writer_for_others_is_at_the_request_of_who_asked(void **state)
{
	static const struct who other = {1, 12, 9, TL_UNIT_GOROUTINE},
				child = {1, 12, 10, TL_UNIT_GOROUTINE};
	struct bed bed;
	struct link in = link_new(), in2 = link_new(), pool = link_new();

	(void)state;
	init(&bed);
	ask_path(&bed, &in, NULL, &goroutine, "/p", "X-Request-Id: sent-1\r\n");
	/* It was born in this request, which means nothing later. */
	unit_event(&bed, &writer, TL_EV_UNIT, 0, goroutine.unit);
	unit_event(&bed, &writer, TL_EV_CALL, TL_EVF_FIRST, 0xc000);
	unit_event(&bed, &goroutine, TL_EV_CALL, 0, 0xc000);
	ask(&bed, &pool, &writer, &next);
	assert_id(line(&bed, &next), TL_HOW_UNIT, "sent-1");
	reply(&bed, &pool, &next, &writer);
	/* Another handler, while the first still works. */
	ask_path(&bed, &in2, NULL, &other, "/p", "X-Request-Id: sent-2\r\n");
	unit_event(&bed, &other, TL_EV_CALL, 0, 0xc000);
	ask(&bed, &pool, &writer, &next);
	assert_id(line(&bed, &next), TL_HOW_UNIT, "sent-2");
	reply(&bed, &pool, &next, &writer);
	/* A handler's child. */
	unit_event(&bed, &child, TL_EV_UNIT, 0, other.unit);
	unit_event(&bed, &child, TL_EV_CALL, 0, 0xc000);
	ask(&bed, &pool, &writer, &next);
	assert_id(line(&bed, &next), TL_HOW_UNIT, "sent-2");
	reply(&bed, &pool, &next, &writer);
	/* Nobody's, as far as is known; each asking is for one request. */
	ask(&bed, &pool, &writer, &next);
	assert_int_equal(strlen(line(&bed, &next)->id), 32);
	bed_done(&bed);
}

static void a_unit_that_serves_nothing_has_no_child(void **state)
{
	struct bed bed;
	struct link in = link_new(), out = link_new();

	(void)state;
	init(&bed);
	ask_path(&bed, &in, NULL, &goroutine, "/p", "X-Request-Id: sent-1\r\n");
	ask(&bed, &out, &stranger, &next);
	assert_string_not_equal(line(&bed, &next)->id, "sent-1");
	bed_done(&bed);
}

/* A connection from a pool is used by one request's unit after another's. */
static void a_pooled_connection_belongs_to_who_uses_it(void **state)
{
	static const struct who other = {1, 12, 9, TL_UNIT_GOROUTINE};
	struct bed bed;
	struct link in = link_new(), in2 = link_new(), pool = link_new();

	(void)state;
	init(&bed);
	ask_path(&bed, &in, NULL, &goroutine, "/p", "X-Request-Id: sent-1\r\n");
	ask_path(&bed, &in2, NULL, &other, "/p", "X-Request-Id: sent-2\r\n");
	ask(&bed, &pool, &goroutine, &next);
	assert_id(line(&bed, &next), TL_HOW_UNIT, "sent-1");
	reply(&bed, &pool, &next, &goroutine);
	ask(&bed, &pool, &other, &next);
	assert_id(line(&bed, &next), TL_HOW_UNIT, "sent-2");
	reply(&bed, &pool, &next, &other);
	ask(&bed, &pool, &stranger, &next);
	assert_int_equal(strlen(line(&bed, &next)->id), 32);
	bed_done(&bed);
}

static void after_its_answer_a_unit_has_no_children(void **state)
{
	struct bed bed;
	struct link in = link_new(), out = link_new();

	(void)state;
	init(&bed);
	ask_path(&bed, &in, NULL, &goroutine, "/p", "X-Request-Id: sent-1\r\n");
	reply(&bed, &in, &goroutine, NULL);
	ask(&bed, &out, &goroutine, &next);
	assert_string_not_equal(line(&bed, &next)->id, "sent-1");
	bed_done(&bed);
}

static void a_thread_hands_down_once_its_rule_is_proved(void **state)
{
	static const struct who a = {1, 41, 0, 0}, b = {1, 42, 0, 0};
	struct bed bed;
	struct link in = link_new(), out = link_new();
	struct noted *held;

	(void)state;
	init(&bed);
	ask_path(&bed, &in, NULL, &a, "/p", "X-Request-Id: early\r\n");
	ask(&bed, &out, &a, &next);
	assert_string_not_equal(line(&bed, &next)->id, "early");
	reply(&bed, &out, &next, &a);
	reply(&bed, &in, &a, NULL);
	prove(&bed, &a, &b, CONFIRMS);
	ask_path(&bed, &in, NULL, &a, "/p", "X-Request-Id: late\r\n");
	held = line(&bed, &a);
	ask(&bed, &out, &a, &next);
	assert_id(line(&bed, &next), TL_HOW_UNIT, "late");
	reply(&bed, &out, &next, &a);
	reply(&bed, &in, &a, NULL);
	assert_id(held, TL_HOW_THREAD, "late");
	bed_done(&bed);
}

/* --- relays: nginx, one thread --- */

static const struct who relay = {9, 91, 0, 0};

static void connect_out(struct bed *bed, const struct link *link)
{
	struct tl_ev_wire e = {.h = head_of(bed, &relay, TL_EV_WIRE),
			       .sock = 0x1000 + link->client,
			       .sock_ino = link->client};

	e.h.syscall_class = TL_CALL_CONNECT;
	tl_corr_wire(bed->corr, &e, NULL);
}

/* Two requests overlap on the relay's thread; each is sent on by a connection opened in its turn,
 * whose write comes in a later one. `crossed`: the answers go back the wrong way. */
static void relayed(struct bed *bed, bool crossed, const char *headers)
{
	struct link in[2] = {link_new(), link_new()}, out[2] = {link_new(), link_new()};

	for (int i = 0; i < 2; i++) {
		ask(bed, &in[i], NULL, &relay);
		connect_out(bed, &out[i]);
	}
	for (int i = 1; i >= 0; i--)
		ask_path(bed, &out[i], &relay, &next, "/p", headers);
	for (int i = 0; i < 2; i++) {
		reply(bed, &out[i], &next, &relay);
		reply(bed, &in[i ^ crossed], &relay, NULL);
	}
}

static void a_relay_hands_down_once_its_answers_proved_it(void **state)
{
	struct bed bed;
	struct link in = link_new(), out = link_new();

	(void)state;
	init(&bed);
	for (int i = 0; i < CONFIRMS; i++) {
		relayed(&bed, false, "");
		assert_true(i > 4 || !bed.parent[0]);
	}
	ask(&bed, &in, NULL, &relay);
	connect_out(&bed, &out);
	ask(&bed, &out, &relay, &next);
	reply(&bed, &out, &next, NULL);
	assert_int_equal(strlen(bed.parent), 32);
	assert_string_equal(bed.exchange_id, bed.parent);
	bed_done(&bed);
}

static void a_relay_that_answered_crosswise_is_never_believed(void **state)
{
	struct bed bed;
	struct link in = link_new(), out = link_new();

	(void)state;
	init(&bed);
	relayed(&bed, true, "");
	for (int i = 0; i < 2 * CONFIRMS; i++)
		relayed(&bed, false, "");
	ask(&bed, &in, NULL, &relay);
	connect_out(&bed, &out);
	ask(&bed, &out, &relay, &next);
	reply(&bed, &out, &next, NULL);
	assert_string_equal(bed.parent, "");
	bed_done(&bed);
}

static void a_relay_that_makes_the_id_has_it_too(void **state)
{
	struct bed bed;
	struct link in = link_new(), out = link_new();

	(void)state;
	init(&bed);
	for (int i = 0; i < CONFIRMS; i++)
		relayed(&bed, false, "");
	ask(&bed, &in, NULL, &relay);
	connect_out(&bed, &out);
	ask_path(&bed, &out, &relay, &third, "/p", "X-Request-Id: made-1\r\n");
	assert_id(line(&bed, &third), TL_HOW_UNIT, "made-1");
	reply(&bed, &out, &third, &relay);
	reply(&bed, &in, &relay, NULL);
	assert_string_equal(bed.exchange_id, "made-1");
	bed_done(&bed);
}

static void a_relay_that_calls_another_path_is_not_guessed_at(void **state)
{
	struct bed bed;
	struct link in = link_new(), out = link_new();

	(void)state;
	init(&bed);
	for (int i = 0; i < CONFIRMS; i++)
		relayed(&bed, false, "");
	ask_path(&bed, &in, NULL, &relay, "/p", "");
	connect_out(&bed, &out);
	ask_path(&bed, &out, &relay, &next, "/other", "");
	reply(&bed, &out, &next, NULL);
	assert_string_equal(bed.parent, "");
	bed_done(&bed);
}

/* After a wait the thread may be at anything: a timer's request is not that of the last reader. */
static void a_relay_that_waited_is_in_another_turn(void **state)
{
	struct bed bed;
	struct link in = link_new(), out = link_new();

	(void)state;
	init(&bed);
	for (int i = 0; i < CONFIRMS; i++)
		relayed(&bed, false, "");
	ask(&bed, &in, NULL, &relay);
	bed.waited_ns = 1;
	connect_out(&bed, &out);
	bed.waited_ns = 0;
	ask(&bed, &out, &relay, &next);
	reply(&bed, &out, &next, NULL);
	assert_string_equal(bed.parent, "");
	bed_done(&bed);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(both_ends_give_a_request_the_same_id),
		cmocka_unit_test(behind_nat_each_end_has_an_id_of_its_own),
		cmocka_unit_test(bytes_that_moved_unseen_take_the_place_away),
		cmocka_unit_test(a_chain_of_units_has_the_id_of_its_root),
		cmocka_unit_test(a_sent_id_is_handed_down_where_the_call_carries_none),
		cmocka_unit_test(the_ends_may_tell_in_any_order),
		cmocka_unit_test(an_id_that_a_line_carries_does_not_change),
		cmocka_unit_test(over_a_unix_socket_an_id_is_handed_down_too),
		cmocka_unit_test(a_writer_for_others_is_at_the_request_of_who_asked),
		cmocka_unit_test(a_unit_that_serves_nothing_has_no_child),
		cmocka_unit_test(a_pooled_connection_belongs_to_who_uses_it),
		cmocka_unit_test(after_its_answer_a_unit_has_no_children),
		cmocka_unit_test(a_thread_hands_down_once_its_rule_is_proved),
		cmocka_unit_test(a_relay_hands_down_once_its_answers_proved_it),
		cmocka_unit_test(a_relay_that_answered_crosswise_is_never_believed),
		cmocka_unit_test(a_relay_that_makes_the_id_has_it_too),
		cmocka_unit_test(a_relay_that_calls_another_path_is_not_guessed_at),
		cmocka_unit_test(a_relay_that_waited_is_in_another_turn),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
