/* SPDX-License-Identifier: Apache-2.0 */
/* Threads that bring decided generations to the bucket, one generation each at a time, file by file
 * in the order of hours. The queue holds at most one generation a partition, so it needs no bound
 * of its own. Stop is by the generation's `cancel`, which every wait looks at. */
#include <pthread.h>
#include <stdio.h>
#include <time.h>

#include "userspace/base/clock.h"
#include "userspace/sink/s3_uploader.h"

#define THREADS_MAX 16

struct worker {
	pthread_t thread;
	struct tl_s3_uploader *uploader;
	struct tl_s3_client client;
};

struct tl_s3_uploader {
	const struct tl_s3_settings *settings;
	const struct tl_s3_spool *spool; /* only to make files */
	const struct tl_s3_sources *sources;
	pthread_mutex_t lock;
	pthread_cond_t work, done;
	pthread_mutex_t converting; /* one Parquet file at a time, for its memory */
	struct tl_s3_generation *queue;
	struct tl_s3_generation *busy[THREADS_MAX];
	uint64_t n_done, n_seen; /* generations finished so far; when the last wait returned */
	bool stopping;
	struct tl_msg_gate gate;
	unsigned n; /* threads */
	struct worker workers[THREADS_MAX];
};

static int upload(struct worker *w, const struct tl_s3_generation *g, const struct tl_s3_file *file,
		  enum tl_s3_format format, int fd, uint64_t size, struct tl_error *error)
{
	bool dead = g->topic == TL_TOPIC_DLQ;
	const struct tl_s3_sources *sources = w->uploader->sources;
	struct tl_s3_name name = {.prefix = w->uploader->settings->prefix,
				  .root = dead ? "dead_letters" : "logs",
				  .source = dead ? sources->dead_letters : sources->logs,
				  .partition = g->partition,
				  .first = g->first,
				  .end = g->end,
				  .hour = file->hour,
				  .format = format};
	char key[TL_S3_KEY_MAX + 1], content[TL_S3_CONTENT_MAX];
	struct tl_s3_object object = {.key = key, .content = content, .fd = fd, .size = size};
	int r = tl_s3_key(&name, key);

	if (r < 0)
		return tl_error_set(error, r, "--prefix is too long: S3's keys have 1024 bytes");
	object.content_type =
		format == TL_S3_PARQUET ? "application/vnd.apache.parquet" : "application/zstd";
	tl_s3_content(file, content);
	r = tl_s3_upload(&w->client, &object, &g->cancel, error);
	return r < 0 ? r : 0;
}

static int upload_parquet(struct worker *w, const struct tl_s3_generation *g,
			  const struct tl_s3_file *file, struct tl_error *error)
{
	_cleanup_(closep) int fd = tl_s3_spool_file(w->uploader->spool);
	off_t size;
	int r;

	pthread_mutex_lock(&w->uploader->converting);
	r = fd < 0 ? fd
		   : tl_s3_convert(file->fd, fd, (int)w->uploader->settings->level, &g->cancel);
	pthread_mutex_unlock(&w->uploader->converting);
	if (r == -ECANCELED)
		return r;
	if (r < 0)
		return tl_error_set(error, r, "a Parquet file cannot be made in --spool %s: %s",
				    w->uploader->spool->dir, strerror(-r));
	size = lseek(fd, 0, SEEK_END);
	return upload(w, g, file, TL_S3_PARQUET, fd, (uint64_t)size, error);
}

static int process(struct worker *w, const struct tl_s3_generation *g, struct tl_error *error)
{
	enum tl_s3_format formats = tl_s3_formats(w->uploader->settings);
	int r = 0;

	for (size_t i = 0; r == 0 && i < g->n_files; i++) {
		const struct tl_s3_file *file = &g->files[i];

		if (formats & TL_S3_NDJSON)
			r = upload(w, g, file, TL_S3_NDJSON, file->fd, file->bytes, error);
		if (r == 0 && formats & TL_S3_PARQUET)
			r = upload_parquet(w, g, file, error);
	}
	return r;
}

static struct tl_s3_generation *take(struct tl_s3_uploader *u)
{
	struct tl_s3_generation *g = u->queue;

	u->queue = g->next;
	g->next = NULL;
	return g;
}

static void *run(void *arg)
{
	struct worker *w = arg;
	struct tl_s3_uploader *u = w->uploader;

	pthread_mutex_lock(&u->lock);
	for (;;) {
		struct tl_s3_generation *g;
		struct tl_error error = {0};
		int r;

		while (!u->queue && !u->stopping)
			pthread_cond_wait(&u->work, &u->lock);
		if (u->stopping)
			break;
		g = u->busy[w - u->workers] = take(u);
		pthread_mutex_unlock(&u->lock);
		r = g->cancel ? -ECANCELED : process(w, g, &error);
		pthread_mutex_lock(&u->lock);
		u->busy[w - u->workers] = NULL;
		g->result = r;
		g->error = error;
		g->finished = true;
		u->n_done++;
		pthread_cond_signal(&u->done);
	}
	pthread_mutex_unlock(&u->lock);
	return NULL;
}

static int start(struct tl_s3_uploader *u, struct tl_error *error)
{
	while (u->n < (unsigned)u->settings->uploads) {
		struct worker *w = &u->workers[u->n];
		int r = tl_s3_client_init(&w->client, u->settings, error);

		if (r < 0) {
			tl_s3_client_done(&w->client);
			return r;
		}
		w->client.gate = &u->gate;
		w->uploader = u;
		r = pthread_create(&w->thread, NULL, run, w);
		if (r) {
			tl_s3_client_done(&w->client);
			return tl_error_set(error, -r, "no thread can be started: %s", strerror(r));
		}
		u->n++;
	}
	return 0;
}

int tl_s3_uploader_new(const struct tl_s3_settings *settings, const struct tl_s3_spool *spool,
		       const struct tl_s3_sources *sources, struct tl_s3_uploader **ret_uploader,
		       struct tl_error *error)
{
	struct tl_s3_uploader *u = calloc(1, sizeof(*u));
	int r;

	if (!u)
		return tl_error_set(error, -ENOMEM, "out of memory");
	tl_s3_upload_metrics();
	u->settings = settings;
	u->spool = spool;
	u->sources = sources;
	pthread_mutex_init(&u->lock, NULL);
	pthread_mutex_init(&u->converting, NULL);
	pthread_cond_init(&u->work, NULL);
	pthread_cond_init(&u->done, NULL);
	r = start(u, error);
	if (r < 0) {
		tl_s3_uploader_free(u);
		return r;
	}
	*ret_uploader = u;
	return 0;
}

void tl_s3_uploader_free(struct tl_s3_uploader *u)
{
	pthread_mutex_lock(&u->lock);
	u->stopping = true;
	for (unsigned i = 0; i < u->n; i++)
		if (u->busy[i])
			u->busy[i]->cancel = 1;
	pthread_cond_broadcast(&u->work);
	pthread_mutex_unlock(&u->lock);
	for (unsigned i = 0; i < u->n; i++) {
		pthread_join(u->workers[i].thread, NULL);
		tl_s3_client_done(&u->workers[i].client);
	}
	pthread_cond_destroy(&u->work);
	pthread_cond_destroy(&u->done);
	pthread_mutex_destroy(&u->lock);
	pthread_mutex_destroy(&u->converting);
	free(u);
}

void tl_s3_uploader_submit(struct tl_s3_uploader *u, struct tl_s3_generation *generation)
{
	struct tl_s3_generation **at = &u->queue;

	pthread_mutex_lock(&u->lock);
	while (*at)
		at = &(*at)->next;
	generation->next = NULL;
	generation->submitted = true;
	*at = generation;
	pthread_cond_signal(&u->work);
	pthread_mutex_unlock(&u->lock);
}

bool tl_s3_uploader_finished(struct tl_s3_uploader *u, const struct tl_s3_generation *generation)
{
	bool finished;

	pthread_mutex_lock(&u->lock);
	finished = generation->finished;
	pthread_mutex_unlock(&u->lock);
	return finished;
}

void tl_s3_uploader_wait(struct tl_s3_uploader *u, unsigned ms)
{
	uint64_t due = tl_wall_ns() + ms * TL_MS;
	struct timespec ts = {(time_t)(due / TL_SEC), (long)(due % TL_SEC)};
	int r = 0;

	pthread_mutex_lock(&u->lock);
	while (r == 0 && u->n_done == u->n_seen)
		r = pthread_cond_timedwait(&u->done, &u->lock, &ts);
	u->n_seen = u->n_done;
	pthread_mutex_unlock(&u->lock);
}
