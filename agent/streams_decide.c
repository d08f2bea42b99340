/* SPDX-License-Identifier: Apache-2.0 */
/* A log is what a process writes to by its fd 1 or 2 (a terminal, a pipe that no other selected
 * process reads, a file opened for writing only or for appending), the journal and syslog sockets
 * by the path they are bound to, and regular files that a path rule names. Files open for reading
 * and writing behind fd 1 are not: a daemon that closed its stdout gets the number back for its
 * database. */
#include "agent/streams_decide.h"

#include <fcntl.h>

#include "userspace/base/text.h"

static const char *const default_paths[] = {"/var/log/**", "*.log"};
/* Under the default folders, but not text. */
static const char *const never_paths[] = {
	"/var/log/journal/**", "/var/log/wtmp",	 "/var/log/btmp",
	"/var/log/lastlog",    "/var/log/**.gz",
};
static const char *const log_sockets[] = {
	"/run/systemd/journal/stdout",
	"/run/systemd/journal/socket",
	"/run/systemd/journal/dev-log",
	"/run/systemd/journal/syslog",
	"/dev/log",
};

static bool any_match(const char *const *globs, size_t n, const char *path)
{
	for (size_t i = 0; i < n; i++)
		if (tl_glob_match(globs[i], path))
			return true;
	return false;
}

static bool path_is_log(const struct tl_streams_options *options, const char *path)
{
	if (!path[0])
		return false;
	if (options->n_paths)
		return any_match(options->paths, options->n_paths, path);
	return any_match(default_paths, ARRAY_SIZE(default_paths), path) &&
	       !any_match(never_paths, ARRAY_SIZE(never_paths), path);
}

static bool regular_is_log(const struct tl_streams_options *options, const struct tl_ev_file *event,
			   const char *path, bool std)
{
	bool only_written = (event->f_flags & O_ACCMODE) == O_WRONLY || event->f_flags & O_APPEND;

	return (std && only_written) || path_is_log(options, path);
}

static bool pipe_is_log(const struct tl_streams_options *options, const struct tl_ev_file *event)
{
	return !options->pipe_reader ||
	       options->pipe_reader(options->arg, event->h.tgid, &event->file) <= 0;
}

static bool socket_is_log(const char *path)
{
	for (size_t i = 0; i < ARRAY_SIZE(log_sockets); i++)
		if (strcmp(log_sockets[i], path) == 0)
			return true;
	return false;
}

enum tl_verdict tl_streams_judge(const struct tl_streams_options *options,
				 const struct tl_ev_file *event, const char *path)
{
	bool std = event->h.flags & (TL_EVF_STDOUT | TL_EVF_STDERR), log = false;

	switch ((enum tl_file_kind)event->kind) {
	case TL_FILE_REGULAR:
		log = regular_is_log(options, event, path, std);
		break;
	case TL_FILE_PIPE:
		log = std && pipe_is_log(options, event);
		break;
	case TL_FILE_TTY:
		log = std;
		break;
	case TL_FILE_UNIX:
		log = socket_is_log(path);
		break;
	case TL_FILE_OTHER:
		break;
	}
	return log ? TL_VERDICT_LOG : TL_VERDICT_IGNORE;
}
