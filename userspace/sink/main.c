/* SPDX-License-Identifier: Apache-2.0 */
#include "userspace/sink/main.h"

int main(int argc, char **argv)
{
	return tl_sink_main(argc, argv);
}
