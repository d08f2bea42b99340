/* SPDX-License-Identifier: Apache-2.0 */
/* Two mutexes. `lock` is held for a few instructions, so an append that notes its end never waits
 * for a disk. `busy` is held over each fdatasync, so the writer that changes segments waits for the
 * one under way and the descriptor does not close under it. The thread sleeps until something is
 * unsynced, then until that is `ms` old. Signals are blocked in it: they belong to the program's
 * own threads. */
#include "userspace/log/log_sync.h"

#include <errno.h>
#include <signal.h>
#include <time.h>
#include <unistd.h>

#include "userspace/base/clock.h"

static struct timespec timespec_of(uint64_t ns)
{
	return (struct timespec){(time_t)(ns / TL_SEC), (long)(ns % TL_SEC)};
}

/* `lock` is held. Returns when a sync is due (true) or the thread is to end. */
static bool wait_until_due(struct tl_log_syncer *syncer)
{
	while (!syncer->stop) {
		uint64_t due = syncer->since_ns + syncer->ms * TL_MS;
		struct timespec until = timespec_of(due);

		if (syncer->since_ns == 0)
			pthread_cond_wait(&syncer->cond, &syncer->lock);
		else if (tl_mono_ns() >= due)
			return true;
		else
			pthread_cond_timedwait(&syncer->cond, &syncer->lock, &until);
	}
	return false;
}

static void *sync_thread(void *arg)
{
	struct tl_log_syncer *syncer = arg;
	bool due;

	do {
		pthread_mutex_lock(&syncer->lock);
		due = wait_until_due(syncer);
		pthread_mutex_unlock(&syncer->lock);
		if (due)
			tl_log_syncer_now(syncer);
	} while (due);
	return NULL;
}

static int start_thread(struct tl_log_syncer *syncer)
{
	sigset_t all, old;
	int r;

	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	r = pthread_create(&syncer->thread, NULL, sync_thread, syncer);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	syncer->running = r == 0;
	return -r;
}

int tl_log_syncer_start(struct tl_log_syncer *syncer, struct tl_log_head *head, uint32_t ms)
{
	pthread_condattr_t monotonic;

	*syncer = (struct tl_log_syncer){.head = head, .ms = ms, .fd = -1};
	pthread_mutex_init(&syncer->busy, NULL);
	pthread_mutex_init(&syncer->lock, NULL);
	pthread_condattr_init(&monotonic);
	pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
	pthread_cond_init(&syncer->cond, &monotonic);
	pthread_condattr_destroy(&monotonic);
	return ms ? start_thread(syncer) : 0;
}

int tl_log_syncer_note(struct tl_log_syncer *syncer, uint64_t end)
{
	int error;

	pthread_mutex_lock(&syncer->lock);
	syncer->end = end;
	if (syncer->since_ns == 0) {
		syncer->since_ns = tl_mono_ns();
		if (syncer->running)
			pthread_cond_signal(&syncer->cond);
	}
	error = syncer->error;
	pthread_mutex_unlock(&syncer->lock);
	return error;
}

int tl_log_syncer_error(struct tl_log_syncer *syncer)
{
	int error;

	pthread_mutex_lock(&syncer->lock);
	error = syncer->error;
	pthread_mutex_unlock(&syncer->lock);
	return error;
}

int tl_log_syncer_now(struct tl_log_syncer *syncer)
{
	uint64_t end, since;
	int r, fd;

	pthread_mutex_lock(&syncer->busy);
	pthread_mutex_lock(&syncer->lock);
	end = syncer->end;
	since = syncer->since_ns;
	fd = syncer->fd;
	r = syncer->error;
	syncer->since_ns = 0;
	pthread_mutex_unlock(&syncer->lock);

	/* After a failed fdatasync the kernel forgets what was dirty: a second one that succeeds
	 * proves nothing. */
	if (r == 0 && since && fd >= 0) {
		if (fdatasync(fd) == 0) {
			__atomic_store_n(&syncer->head->synced, end, __ATOMIC_RELEASE);
		} else {
			r = -EIO;
			pthread_mutex_lock(&syncer->lock);
			syncer->error = r;
			pthread_mutex_unlock(&syncer->lock);
		}
	}
	pthread_mutex_unlock(&syncer->busy);
	return r;
}

void tl_log_syncer_switch(struct tl_log_syncer *syncer, int fd)
{
	pthread_mutex_lock(&syncer->busy);
	pthread_mutex_lock(&syncer->lock);
	syncer->fd = fd;
	pthread_mutex_unlock(&syncer->lock);
	pthread_mutex_unlock(&syncer->busy);
}

void tl_log_syncer_stop(struct tl_log_syncer *syncer)
{
	if (syncer->running) {
		pthread_mutex_lock(&syncer->lock);
		syncer->stop = true;
		pthread_cond_signal(&syncer->cond);
		pthread_mutex_unlock(&syncer->lock);
		pthread_join(syncer->thread, NULL);
		syncer->running = false;
	}
	pthread_cond_destroy(&syncer->cond);
	pthread_mutex_destroy(&syncer->lock);
	pthread_mutex_destroy(&syncer->busy);
}
