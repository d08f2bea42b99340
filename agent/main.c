/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/agent.h"

int main(int argc, char **argv)
{
	return tl_agent_main(argc, argv);
}
