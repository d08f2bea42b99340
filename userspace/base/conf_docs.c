/* SPDX-License-Identifier: Apache-2.0 */
/* The same table as --help, as Markdown (docs/configuration.md) and as a man page. */
#include <ctype.h>
#include <string.h>

#include "userspace/base/conf_internal.h"

static const char *const type_name[] = {
	[TL_OPT_STRING] = "text",
	[TL_OPT_BOOL] = "true or false",
	[TL_OPT_INT] = "number",
	[TL_OPT_SIZE] = "size",
	[TL_OPT_DURATION] = "duration",
	[TL_OPT_ENUM] = "one of",
	[TL_OPT_LIST] = "list",
	[TL_OPT_KEYVALUE] = "mapping",
	[TL_OPT_SECRET] = "file with the secret",
};

static bool has_default(const struct tl_option *option)
{
	return option->value && *option->value && option->type != TL_OPT_SECRET;
}

/* Markdown. */

/* A cell of a table ends at `|` and has no lines. */
static void put_cell(FILE *out, const char *text)
{
	for (; *text; text++) {
		if (*text == '|' || *text == '<' || *text == '*')
			fputc('\\', out);
		fputc(*text == '\n' ? ' ' : *text, out);
	}
}

/* Indented lines become a code block, others stay paragraphs. Empty lines wait for what follows:
 * the end of a block stands before them. */
static void put_markdown_about(FILE *out, const char *about)
{
	unsigned empty = 0;
	bool in_code = false;

	while (*about) {
		size_t len = strcspn(about, "\n"), skip = strspn(about, " ");
		bool code = *about == ' ';

		if (len == 0) {
			empty++;
		} else {
			if (in_code && !code)
				fputs("```\n", out);
			for (; empty; empty--)
				fputc('\n', out);
			if (code && !in_code)
				fputs("```sh\n", out);
			/* Two columns are the block's own indent; deeper ones belong to the
			 * example. */
			skip = skip > 2 ? 2 : skip;
			fprintf(out, "%.*s\n", (int)(len - skip), about + skip);
			in_code = code;
		}
		about += len;
		about += *about == '\n';
	}
	fputs(in_code ? "```\n\n" : "\n", out);
}

static void put_markdown_type(FILE *out, const struct tl_option *option)
{
	fputs(type_name[option->type], out);
	if (option->type == TL_OPT_INT && option->max > option->min)
		fprintf(out, " %lld to %lld", (long long)option->min, (long long)option->max);
	if (option->type == TL_OPT_ENUM)
		for (int i = 0; option->choices[i]; i++)
			fprintf(out, "%s `%s`", i ? "," : "", option->choices[i]);
}

static void put_markdown_option(FILE *out, const struct tl_option *option)
{
	const char *metavar = tl_conf_metavar(option);

	fprintf(out, "| `%s` | `", option->name);
	if (option->letter)
		fprintf(out, "-%c` `", option->letter);
	fprintf(out, "--%s%s%s` | ", option->name, metavar ? " " : "", metavar ? metavar : "");
	put_markdown_type(out, option);
	fputs(" | ", out);
	if (has_default(option))
		fprintf(out, "`%s`", option->value);
	else if (option->required)
		fputs("required", out);
	fputs(" | ", out);
	if (option->env)
		fprintf(out, "`%s`", option->env);
	fputs(" | ", out);
	put_cell(out, option->help ? option->help : "");
	fputs(" |\n", out);
}

void tl_conf_markdown_table(const struct tl_option *options, FILE *out)
{
	fputs("| Key | Flag | Type | Default | Environment | Meaning |\n", out);
	fputs("|---|---|---|---|---|---|\n", out);
	for (const struct tl_option *option = options; option->name; option++)
		if (!option->hidden)
			put_markdown_option(out, option);
}

void tl_conf_markdown(const struct tl_conf_spec *spec, FILE *out)
{
	fprintf(out, "## %s\n\n", spec->program);
	if (spec->about)
		put_markdown_about(out, spec->about);
	if (spec->section)
		fprintf(out,
			"Section of the YAML file: `%s`. A dot in a key is a level of nesting.\n\n",
			spec->section);
	tl_conf_markdown_table(spec->options, out);
	fputc('\n', out);
}

/* roff. */

/* Text as it is: no byte of it is a request, an escape or a typographic dash. */
static void put_roff(FILE *out, const char *text, size_t len)
{
	for (size_t i = 0; i < len; i++) {
		bool line_begins = i == 0 || text[i - 1] == '\n';

		if (line_begins && (text[i] == '.' || text[i] == '\''))
			fputs("\\&", out);
		if (text[i] == '\\')
			fputs("\\e", out);
		else if (text[i] == '-')
			fputs("\\-", out);
		else
			fputc(text[i], out);
	}
}

static void put_roff_text(FILE *out, const char *text)
{
	put_roff(out, text, strlen(text));
}

static void put_page_name(FILE *out, const char *program, bool upper)
{
	for (; *program; program++) {
		if (*program == ' ' || *program == '-')
			fputs("\\-", out);
		else
			fputc(upper ? toupper((unsigned char)*program) : *program, out);
	}
}

/* The first sentence of about, without its full stop. */
static void put_summary(FILE *out, const char *about)
{
	size_t len = strcspn(about, "\n");
	const char *stop = strstr(about, ". ");

	if (stop && (size_t)(stop - about) < len)
		len = (size_t)(stop - about);
	if (len && about[len - 1] == '.')
		len--;
	put_roff(out, about, len);
	fputc('\n', out);
}

static void put_roff_about(FILE *out, const char *about)
{
	bool in_code = false;

	while (*about) {
		size_t len = strcspn(about, "\n");
		bool code = *about == ' ';

		if (len && code != in_code) {
			fputs(code ? ".PP\n.nf\n.RS 4\n" : ".RE\n.fi\n.PP\n", out);
			in_code = code;
		}
		if (len) {
			size_t skip = code ? strspn(about, " ") : 0;

			put_roff(out, about + skip, len - skip);
			fputc('\n', out);
		} else if (about[1] && about[1] != ' ' && about[1] != '\n') {
			/* Where an example ends here, its end begins the paragraph. */
			fputs(in_code ? "" : ".PP\n", out);
		}
		about += len;
		about += *about == '\n';
	}
	if (in_code)
		fputs(".RE\n.fi\n", out);
}

static void put_roff_facts(FILE *out, const struct tl_option *option)
{
	if (option->type == TL_OPT_ENUM) {
		fputs("One of", out);
		for (int i = 0; option->choices[i]; i++) {
			fputs(i ? ", \\fB" : " \\fB", out);
			put_roff_text(out, option->choices[i]);
			fputs("\\fR", out);
		}
		fputs(".\n", out);
	}
	if (option->type == TL_OPT_LIST || option->type == TL_OPT_KEYVALUE)
		fputs("May be given several times.\n", out);
	if (option->required)
		fputs("Required.\n", out);
	if (has_default(option)) {
		fputs("Default: ", out);
		put_roff_text(out, option->value);
		fputs(".\n", out);
	}
	if (option->env)
		fprintf(out, "Environment: \\fB%s\\fR.\n", option->env);
}

static void put_roff_option(FILE *out, const struct tl_option *option)
{
	const char *metavar = tl_conf_metavar(option);

	fputs(".TP\n", out);
	if (option->letter)
		fprintf(out, "\\fB\\-%c\\fR, ", option->letter);
	fputs("\\fB\\-\\-", out);
	put_roff_text(out, option->name);
	fputs("\\fR", out);
	if (metavar) {
		fputs(" \\fI", out);
		put_roff_text(out, metavar);
		fputs("\\fR", out);
	}
	fputc('\n', out);
	put_roff_text(out, option->help ? option->help : "");
	fputc('\n', out);
	put_roff_facts(out, option);
}

static void put_roff_files(FILE *out, const struct tl_conf_spec *spec)
{
	fputs(".TP\n\\fB\\-\\-config\\fR \\fIFILE\\fR\nRead settings from this YAML file too. "
	      "A flag overrides the environment, which overrides the file.\n",
	      out);
	if (spec->section)
		fprintf(out,
			"The settings stand in its section \\fB%s\\fR, with the flags' names as "
			"keys; "
			"a dot in a name is a level of nesting.\n",
			spec->section);
	fputs(".TP\n\\fB\\-\\-help\\fR\nShow a summary.\n", out);
}

static void put_synopsis(FILE *out, const struct tl_conf_spec *spec)
{
	const char *usage = spec->usage;

	fputs(".SH SYNOPSIS\n.nf\n", out);
	if (usage) {
		put_roff_text(out, usage);
	} else {
		put_roff_text(out, spec->program);
		fputs(" [options]", out);
	}
	fputs("\n.fi\n", out);
}

void tl_conf_man(const struct tl_conf_spec *spec, FILE *out)
{
	fputs(".TH \"", out);
	put_page_name(out, spec->program, true);
	fputs("\" 1 \"\" tapline \"tapline manual\"\n.SH NAME\n", out);
	put_page_name(out, spec->program, false);
	fputs(" \\- ", out);
	put_summary(out, spec->about ? spec->about : spec->program);
	put_synopsis(out, spec);
	if (spec->about) {
		fputs(".SH DESCRIPTION\n", out);
		put_roff_about(out, spec->about);
	}
	fputs(".SH OPTIONS\n", out);
	for (const struct tl_option *option = spec->options; option->name; option++)
		if (!option->hidden)
			put_roff_option(out, option);
	put_roff_files(out, spec);
}
