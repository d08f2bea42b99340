/* SPDX-License-Identifier: Apache-2.0 */
#include "userspace/sink/s3_credentials.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "userspace/base/cleanup.h"
#include "userspace/base/fs.h"

#define FILE_MAX (1u << 20)

static void wipe(struct tl_buf *buf)
{
	if (buf->data)
		explicit_bzero(buf->data, buf->cap);
	tl_buf_done(buf);
}

/* Cuts blanks off both ends, in place. */
static char *trim(char *s)
{
	char *end;

	while (isspace((unsigned char)*s))
		s++;
	end = s + strlen(s);
	while (end > s && isspace((unsigned char)end[-1]))
		*--end = '\0';
	return s;
}

static void take(struct tl_s3_credentials *c, const char *key, const char *value)
{
	if (strcmp(key, "aws_access_key_id") == 0)
		snprintf(c->access_key, sizeof(c->access_key), "%s", value);
	else if (strcmp(key, "aws_secret_access_key") == 0)
		snprintf(c->secret, sizeof(c->secret), "%s", value);
	else if (strcmp(key, "aws_session_token") == 0)
		snprintf(c->token, sizeof(c->token), "%s", value);
}

/* Sections in brackets, lines `key = value`, comments with # or ;. */
static void parse(char *text, const char *profile, struct tl_s3_credentials *c)
{
	char *rest = text, *line;
	bool ours = false;

	while ((line = strsep(&rest, "\n"))) {
		char *equals, *end;

		line = trim(line);
		if (*line == '[') {
			end = strchr(line, ']');
			if (end)
				*end = '\0';
			ours = strcmp(trim(line + 1), profile) == 0;
			continue;
		}
		equals = strchr(line, '=');
		if (!ours || !equals || *line == '#' || *line == ';')
			continue;
		*equals = '\0';
		take(c, trim(line), trim(equals + 1));
	}
}

static int from_file(const char *path, const char *profile, struct tl_s3_credentials *c,
		     struct tl_error *error)
{
	_cleanup_(wipe) struct tl_buf text = {0};
	int r = tl_file_read(path, FILE_MAX, &text, error);

	if (r < 0)
		return r;
	if (tl_buf_putc(&text, '\0') < 0)
		return tl_error_set(error, -ENOMEM, "out of memory");
	parse(text.data, profile, c);
	if (!c->access_key[0] || !c->secret[0])
		return tl_error_set(error, -EINVAL,
				    "%s has no profile [%s] with aws_access_key_id and "
				    "aws_secret_access_key",
				    path, profile);
	snprintf(c->from, sizeof(c->from), "%s, profile %s", path, profile);
	return 0;
}

static int from_environment(struct tl_s3_credentials *c)
{
	const char *key = getenv("AWS_ACCESS_KEY_ID"), *secret = getenv("AWS_SECRET_ACCESS_KEY");
	const char *token = getenv("AWS_SESSION_TOKEN");

	if (!key || !*key || !secret || !*secret)
		return -ENOKEY;
	take(c, "aws_access_key_id", key);
	take(c, "aws_secret_access_key", secret);
	take(c, "aws_session_token", token ? token : "");
	snprintf(c->from, sizeof(c->from), "the environment (AWS_ACCESS_KEY_ID)");
	return 0;
}

static int from_home(const char *profile, struct tl_s3_credentials *c, struct tl_error *error)
{
	const char *path = getenv("AWS_SHARED_CREDENTIALS_FILE"), *home = getenv("HOME");
	char usual[4096];

	if (!path || !*path) {
		snprintf(usual, sizeof(usual), "%s/.aws/credentials", home ? home : "");
		path = usual;
		if (!home || access(path, F_OK) < 0)
			return tl_error_set(
				error, -ENOKEY,
				"no credentials: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY "
				"(and AWS_SESSION_TOKEN), or give --credentials-file a file with "
				"[default], aws_access_key_id = and aws_secret_access_key =");
	}
	return from_file(path, profile, c, error);
}

int tl_s3_credentials_load(const char *file, const char *profile, struct tl_s3_credentials *ret,
			   struct tl_error *error)
{
	struct tl_s3_credentials c = {0};
	const char *name = profile ? profile : getenv("AWS_PROFILE");
	int r;

	if (!name || !*name)
		name = "default";
	if (file)
		r = from_file(file, name, &c, error);
	else
		r = from_environment(&c);
	if (!file && r == -ENOKEY)
		r = from_home(name, &c, error);
	if (r == 0)
		*ret = c;
	explicit_bzero(&c, sizeof(c));
	return r;
}
