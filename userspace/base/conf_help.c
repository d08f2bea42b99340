/* SPDX-License-Identifier: Apache-2.0 */
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "userspace/base/buf.h"
#include "userspace/base/conf_internal.h"

/* Flags stand left of this column, what they mean right of it. */
#define MEANING_COLUMN 30
#define MIN_WIDTH 60
#define DEFAULT_WIDTH 80
#define MAX_WIDTH 100

static int width_of(FILE *out)
{
	struct winsize size;
	int fd = fileno(out);

	if (fd < 0 || ioctl(fd, TIOCGWINSZ, &size) < 0 || size.ws_col == 0)
		return DEFAULT_WIDTH;
	if (size.ws_col < MIN_WIDTH)
		return MIN_WIDTH;
	return size.ws_col > MAX_WIDTH ? MAX_WIDTH : size.ws_col;
}

/* The end of the word at `i`. A remark in brackets is one word, unless it is as long as a line. */
static size_t word_end(const char *text, size_t len, size_t i, size_t room)
{
	size_t end = i;

	if (text[i] == '[')
		while (end < len && text[end] != ']')
			end++;
	if (end - i >= room)
		end = i;
	while (end < len && text[end] != ' ')
		end++;
	return end;
}

/* How much of the text fits into `room` columns without cutting a word (but at least one word). */
static size_t fitting(const char *text, size_t len, size_t room)
{
	size_t fit = 0;

	for (size_t i = 0; i < len;) {
		size_t word = word_end(text, len, i, room);

		if (word > room && fit)
			break;
		fit = word;
		i = word + 1;
	}
	return fit;
}

/* Writes `text` wrapped; the cursor stands at `column` and goes on there in each line. */
static void wrap(FILE *out, const char *text, size_t len, int column, int width)
{
	size_t room = width > column + 20 ? (size_t)(width - column) : 20;

	while (len > 0) {
		size_t fit = fitting(text, len, room);

		fprintf(out, "%.*s\n", (int)fit, text);
		while (fit < len && text[fit] == ' ')
			fit++;
		text += fit;
		len -= fit;
		if (len)
			fprintf(out, "%*s", column, "");
	}
}

/* Paragraphs wrap; a line that begins with a space is an example and stays as it is. */
static void print_about(FILE *out, const char *about, int width)
{
	while (*about) {
		size_t len = strcspn(about, "\n");

		if (len == 0 || *about == ' ')
			fprintf(out, "%.*s\n", (int)len, about);
		else
			wrap(out, about, len, 0, width);
		about += len;
		about += *about == '\n';
	}
	fputc('\n', out);
}

static void print_usage(FILE *out, const struct tl_conf_spec *spec)
{
	const char *usage = spec->usage;

	if (!usage) {
		fprintf(out, "Usage: %s [options]\n\n", spec->program);
		return;
	}
	for (const char *lead = "Usage: "; *usage; lead = "       ") {
		size_t len = strcspn(usage, "\n");

		fprintf(out, "%s%.*s\n", lead, (int)len, usage);
		usage += len;
		usage += *usage == '\n';
	}
	fputc('\n', out);
}

static void print_row(FILE *out, const char *label, const char *meaning, int width)
{
	int used = fprintf(out, "  %s", label);

	if (used > MEANING_COLUMN - 2) {
		fputc('\n', out);
		used = 0;
	}
	fprintf(out, "%*s", MEANING_COLUMN - used, "");
	wrap(out, meaning, strlen(meaning), MEANING_COLUMN, width);
}

static bool default_is_true(const struct tl_option *option)
{
	return option->type == TL_OPT_BOOL && option->value && strcmp(option->value, "true") == 0;
}

static void make_label(struct tl_buf *out, const struct tl_option *option)
{
	const char *metavar = tl_conf_metavar(option);

	if (option->letter)
		tl_buf_printf(out, "-%c, ", option->letter);
	else
		tl_buf_puts(out, "    ");
	tl_buf_printf(out, "--%s%s", default_is_true(option) ? "[no-]" : "", option->name);
	if (metavar)
		tl_buf_printf(out, " %s", metavar);
	tl_buf_putc(out, '\0');
}

/* The sentence, then in brackets what else there is to know. */
static void make_meaning(struct tl_buf *out, const struct tl_option *option)
{
	tl_buf_puts(out, option->help ? option->help : "");
	if (option->type == TL_OPT_ENUM) {
		tl_buf_puts(out, out->len ? " One of" : "One of");
		for (int i = 0; option->choices[i]; i++)
			tl_buf_printf(out, "%s %s", i ? "," : "", option->choices[i]);
		tl_buf_putc(out, '.');
	}
	if (option->type == TL_OPT_LIST || option->type == TL_OPT_KEYVALUE)
		tl_buf_puts(out, " May be given several times.");
	if (option->required)
		tl_buf_puts(out, " [required]");
	if (option->value && *option->value && option->type != TL_OPT_SECRET &&
	    (option->type != TL_OPT_BOOL || default_is_true(option)))
		tl_buf_printf(out, " [default: %s]", option->value);
	if (option->env)
		tl_buf_printf(out, " [env: %s]", option->env);
	tl_buf_putc(out, '\0');
}

static void print_option(FILE *out, const struct tl_option *option, int width)
{
	struct tl_buf label = {0}, meaning = {0};

	make_label(&label, option);
	make_meaning(&meaning, option);
	if (!label.failed && !meaning.failed)
		print_row(out, label.data, meaning.data, width);
	tl_buf_done(&label);
	tl_buf_done(&meaning);
}

/* Options whose names begin with the same `word.` belong together. */
static bool same_group(const char *a, const char *b)
{
	size_t a_len = strchr(a, '.') ? strcspn(a, ".") : 0;
	size_t b_len = strchr(b, '.') ? strcspn(b, ".") : 0;

	return a_len == b_len && memcmp(a, b, a_len) == 0;
}

static void print_built_in(FILE *out, const struct tl_conf_spec *spec, int width)
{
	struct tl_buf text = {0};
	bool h_taken = false;

	for (const struct tl_option *option = spec->options; option->name; option++)
		h_taken |= option->letter == 'h';
	if (tl_conf_option(spec, "config", 6) < 0) {
		tl_buf_puts(&text, "Read settings from this YAML file too; flags override it.");
		if (spec->section)
			tl_buf_printf(&text, " Its section here is \"%s\".", spec->section);
		tl_buf_putc(&text, '\0');
		if (!text.failed)
			print_row(out, "    --config FILE", text.data, width);
		tl_buf_done(&text);
	}
	print_row(out, h_taken ? "    --help" : "-h, --help", "Show this help.", width);
}

void tl_conf_help(const struct tl_conf_spec *spec, FILE *out)
{
	const char *last = NULL;
	int width = width_of(out);

	print_usage(out, spec);
	if (spec->about)
		print_about(out, spec->about, width);
	fputs("Options:\n", out);
	for (const struct tl_option *option = spec->options; option->name; option++) {
		if (option->hidden)
			continue;
		if (last && !same_group(last, option->name))
			fputc('\n', out);
		print_option(out, option, width);
		last = option->name;
	}
	if (last)
		fputc('\n', out);
	print_built_in(out, spec, width);
}
