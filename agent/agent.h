/* SPDX-License-Identifier: Apache-2.0 */
/* The agent program, callable as `tapline agent` too. Exit status: 0 stopped as asked; 1 failed; 2
 * wrong usage or settings; 77 missing privileges or kernel features. */
#ifndef TL_AGENT_AGENT_H
#define TL_AGENT_AGENT_H

int tl_agent_main(int argc, char **argv);

#endif
