/* SPDX-License-Identifier: Apache-2.0 */
/* Small file helpers. All return 0 or negative errno and set `error` with the path and what to do.
 */
#ifndef TL_BASE_FS_H
#define TL_BASE_FS_H

#include "userspace/base/buf.h"
#include "userspace/base/err.h"

/* Makes `path` and its missing parents with `mode`. A folder that exists is fine. Errors: -EROFS,
 * -EACCES, -ENOTDIR... */
int tl_mkdir_p(const char *path, unsigned mode, struct tl_error *error);

/* Replaces `path` by `data` through a temporary file and rename, synced when `sync`. */
int tl_file_replace(const char *path, struct tl_span data, bool sync, struct tl_error *error);

/* Appends at most `max` bytes of the file to `out` (procfs files too). Errors: -EFBIG when there is
 * more. */
int tl_file_read(const char *path, size_t max, struct tl_buf *out, struct tl_error *error);

/* Removes a folder and all below it; a missing one is fine. For temporary folders that we made. */
int tl_remove_tree(const char *path);

/* Fills `out` with random bytes; cannot fail after boot. */
void tl_random(void *out, size_t len);

#endif
