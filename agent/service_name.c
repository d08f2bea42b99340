/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/service_name.h"

#include <stdio.h>
#include <string.h>

#include "agent/cgroup.h"

/* How an interpreter's command line is read. Options not listed take no value of their own. */
struct interpreter {
	const char *name;	/* base name of the executable; a version may follow (python3.11) */
	const char *with_value; /* options whose value is the next word, each between spaces */
	const char *inline_code; /* options that bring the program with them: there is no script */
	const char *module;	 /* option whose value is a module's name, or NULL */
	const char *archive;	 /* option whose value is the program's file, or NULL */
	const char *verbs;	 /* words that may stand before the script, or NULL */
	bool class_names;	 /* the first word is a class: its last part is the name */
};

static const struct interpreter interpreters[] = {
	{.name = "python",
	 .with_value = " -W -X --check-hash-based-pycs ",
	 .inline_code = " -c ",
	 .module = "-m"},
	{.name = "pypy", .with_value = " -W -X ", .inline_code = " -c ", .module = "-m"},
	{.name = "nodejs",
	 .with_value = " -r --require --import -C ",
	 .inline_code = " -e -p --eval --print "},
	{.name = "node",
	 .with_value = " -r --require --import -C ",
	 .inline_code = " -e -p --eval --print "},
	{.name = "deno",
	 .with_value = " -c --config ",
	 .inline_code = " eval ",
	 .verbs = " run serve "},
	{.name = "bun", .with_value = " -r --preload ", .inline_code = " -e ", .verbs = " run "},
	{.name = "java",
	 .with_value = " -cp -classpath --class-path -p --module-path --add-modules --add-opens ",
	 .inline_code = " ",
	 .module = "-m",
	 .archive = "-jar",
	 .class_names = true},
	{.name = "dotnet",
	 .with_value = " --fx-version --depsfile --runtimeconfig ",
	 .inline_code = " ",
	 .verbs = " exec "},
	{.name = "ruby", .with_value = " -I -r -C ", .inline_code = " -e "},
	{.name = "perl", .with_value = " -I ", .inline_code = " -e -E "},
	{.name = "php", .with_value = " -d -c -S -t ", .inline_code = " -r ", .archive = "-f"},
	{.name = "bash", .with_value = " -O -o --rcfile ", .inline_code = " -c "},
	{.name = "dash", .with_value = " -o ", .inline_code = " -c "},
	{.name = "sh", .with_value = " -o ", .inline_code = " -c "},
};

/* Application servers: the application is a word "module.path:object". */
static const char *const servers[] = {"gunicorn", "uvicorn", "hypercorn", "daphne",
				      "waitress-serve"};

/* Copies, cut at the size. */
static void put(char *out, size_t size, const char *s)
{
	size_t len = strnlen(s, size - 1);

	memcpy(out, s, len);
	out[len] = '\0';
}

static const char *base_of(const char *path)
{
	const char *slash = strrchr(path, '/');

	return slash ? slash + 1 : path;
}

/* The next word of a command line at `*at`; false at its end. */
static bool next_word(const char **at, char *out, size_t size)
{
	size_t len;

	*at += strspn(*at, " ");
	len = strcspn(*at, " ");
	if (len == 0)
		return false;
	snprintf(out, size, "%.*s", (int)len, *at);
	*at += len;
	return true;
}

static bool listed(const char *list, const char *word)
{
	char spaced[256];

	if (!list || (size_t)snprintf(spaced, sizeof(spaced), " %s ", word) >= sizeof(spaced))
		return false;
	return strstr(list, spaced) != NULL;
}

static const struct interpreter *find_interpreter(const char *exe)
{
	const char *base = base_of(exe);

	for (size_t i = 0; i < ARRAY_SIZE(interpreters); i++) {
		size_t len = strlen(interpreters[i].name);

		/* Only a version may follow: "shadow" is no "sh". */
		if (strncmp(base, interpreters[i].name, len) == 0 &&
		    base[len + strspn(base + len, "0123456789.-")] == '\0')
			return &interpreters[i];
	}
	return NULL;
}

/* Takes the ending of a file name off, and of an archive the version: x-1.2-SNAPSHOT.jar is x. */
static void cut_ending(char *name, bool archive)
{
	char *dot = strrchr(name, '.');

	if (dot && dot != name)
		*dot = '\0';
	for (char *dash = strchr(name, '-'); archive && dash; dash = strchr(dash + 1, '-'))
		if (dash != name && dash[1] >= '0' && dash[1] <= '9') {
			*dash = '\0';
			return;
		}
}

/* Names a program file: its base name without ending, or its folder's where the file is only the
 * entry. */
static void name_file(const char *path, char *out, size_t size)
{
	char copy[512], *base;
	const char *folder;

	snprintf(copy, sizeof(copy), "%s", path);
	base = (char *)(uintptr_t)base_of(copy);
	cut_ending(base, strstr(base, ".jar") != NULL || strstr(base, ".war") != NULL);
	if (base > copy + 1 && (strcmp(base, "index") == 0 || strcmp(base, "__main__") == 0)) {
		base[-1] = '\0';
		folder = base_of(copy);
		if (folder[0] && strcmp(folder, ".") != 0 && strcmp(folder, "..") != 0)
			base = (char *)(uintptr_t)folder;
	}
	put(out, size, base);
}

/* "cart.wsgi:application" is "cart". */
static bool name_application(const char *rest, char *out, size_t size)
{
	char word[512];

	while (next_word(&rest, word, sizeof(word))) {
		const char *colon = strchr(word, ':');
		size_t len = strcspn(word, ".:");

		if (!colon || colon == word || word[0] == '-' || strpbrk(word, "/[@") || len == 0 ||
		    len >= size || (colon[1] >= '0' && colon[1] <= '9'))
			continue;
		snprintf(out, size, "%.*s", (int)len, word);
		return true;
	}
	return false;
}

static bool is_server(const char *name)
{
	for (size_t i = 0; i < ARRAY_SIZE(servers); i++)
		if (strcmp(name, servers[i]) == 0)
			return true;
	return false;
}

/* Finds what an interpreter runs; `rest` is its command line behind the first word. */
static bool name_script(const struct interpreter *interpreter, const char *rest, char *out,
			size_t size)
{
	char word[512];

	while (next_word(&rest, word, sizeof(word))) {
		bool module = interpreter->module && strcmp(word, interpreter->module) == 0;
		bool archive = interpreter->archive && strcmp(word, interpreter->archive) == 0;

		if (listed(interpreter->inline_code, word))
			return false;
		if (module || archive) {
			if (!next_word(&rest, word, sizeof(word)))
				return false;
		} else if (listed(interpreter->with_value, word)) {
			(void)next_word(&rest, word, sizeof(word));
			continue;
		} else if (word[0] == '-' || listed(interpreter->verbs, word)) {
			continue;
		}
		if (interpreter->class_names && !archive)
			put(out, size, strrchr(word, '.') ? strrchr(word, '.') + 1 : word);
		else if (module)
			put(out, size, word);
		else
			name_file(word, out, size);
		if (is_server(out))
			(void)name_application(rest, out, size);
		return out[0] != '\0';
	}
	return false;
}

/* "postgresql@15-main.service" is "postgresql"; "\x2d" stands for "-" (systemd.unit(5)). */
static bool name_unit(const char *cgroup, char *out, size_t size)
{
	char unit[256];
	size_t n = 0;

	if (!tl_cgroup_unit(cgroup, unit, sizeof(unit)) || strncmp(unit, "run-u", 5) == 0 ||
	    strncmp(unit, "run-r", 5) == 0)
		return false;
	unit[strcspn(unit, "@")] = '\0';
	if (strrchr(unit, '.') && strcmp(strrchr(unit, '.'), ".service") == 0)
		*strrchr(unit, '.') = '\0';
	for (const char *p = unit; *p && n + 1 < size; p++) {
		bool dash = strncmp(p, "\\x2d", 4) == 0;

		out[n++] = dash ? '-' : *p;
		p += dash ? 3 : 0;
	}
	out[n] = '\0';
	return n > 0;
}

void tl_service_name(const struct tl_proc_info *info, const char *own_cgroup,
		     char out[TL_SERVICE_NAME_MAX])
{
	const char *program = info->exe[0] ? base_of(info->exe) : info->comm;
	const struct interpreter *interpreter = find_interpreter(program);
	const char *rest = info->cmdline;
	char first[512];

	if (!(own_cgroup && strcmp(own_cgroup, info->cgroup) == 0) &&
	    name_unit(info->cgroup, out, TL_SERVICE_NAME_MAX))
		return;
	if (next_word(&rest, first, sizeof(first)) && interpreter &&
	    name_script(interpreter, rest, out, TL_SERVICE_NAME_MAX))
		return;
	/* One program of many names goes by the one it was called by. */
	if (strcmp(program, "busybox") == 0 && info->cmdline[0])
		program = base_of(first);
	put(out, TL_SERVICE_NAME_MAX, program[0] ? program : "unknown_service");
}
