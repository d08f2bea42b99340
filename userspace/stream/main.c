/* SPDX-License-Identifier: Apache-2.0 */
#include "userspace/stream/worker.h"

int main(int argc, char **argv)
{
	return tl_stream_main(argc, argv);
}
