/* SPDX-License-Identifier: Apache-2.0 */
/* TLS libraries: Go's crypto/tls, and OpenSSL as a shared library (1.1 and 3) by its exported
 * functions. The kernel side joins their plaintext to the socket that the same thread or goroutine
 * reads or writes inside the call; SSL objects over memory buffers (asyncio, Node) have none and
 * stay unseen. */
#include "agent/runtimes/go.h"

static const struct {
	const char *name;
	enum tl_probe_kind kind;
} functions[] = {
	/* Ends and returns first: an entry alone would leave its note behind. */
	{"SSL_free", TL_PROBE_TLS_END},
	{"SSL_read", TL_PROBE_TLS_LEAVE},
	{"SSL_write", TL_PROBE_TLS_LEAVE},
	{"SSL_read_ex", TL_PROBE_TLS_LEAVE},
	{"SSL_write_ex", TL_PROBE_TLS_LEAVE},
	{"SSL_do_handshake", TL_PROBE_TLS_LEAVE},
	{"SSL_read", TL_PROBE_TLS_READ},
	{"SSL_write", TL_PROBE_TLS_WRITE},
	{"SSL_read_ex", TL_PROBE_TLS_READ_EX},
	{"SSL_write_ex", TL_PROBE_TLS_WRITE_EX},
	{"SSL_do_handshake", TL_PROBE_TLS_HANDSHAKE},
};

static bool probe_openssl(const struct tl_module *module, struct tl_runtime_unit *unit)
{
	for (size_t i = 0; i < ARRAY_SIZE(functions); i++) {
		struct tl_elf_symbol symbol;

		if (!tl_elf_symbol(module->elf, functions[i].name, &symbol) ||
		    symbol.type != STT_FUNC ||
		    !tl_unit_probe(unit, module->elf, module->info.ino, symbol.address,
				   functions[i].kind))
			return false;
	}
	return true;
}

int tl_tls_live(const struct tl_runtime_view *view, struct tl_runtime_unit *unit)
{
	struct tl_module module;
	bool all = false;

	if (!(view->sets & TL_PROBES_TLS))
		return 0;
	if (tl_module_open(view, "libssl.so*", &module)) {
		all = probe_openssl(&module, unit);
		tl_module_close(&module);
	} else if (tl_module_open(view, "", &module)) {
		all = tl_go_crypto(module.elf, unit);
		tl_module_close(&module);
	}
	if (all)
		unit->probed |= TL_PROCF_TLS;
	return all;
}
