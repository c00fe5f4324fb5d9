// SPDX-License-Identifier: MIT
// A second's work in a function that another one calls: for who looks where time goes.
#pragma GCC optimize("no-omit-frame-pointer")
#include <stdio.h>
#include <time.h>

__attribute__((noipa)) static double add_terms(int terms) {
  double sum = 0;
  for (int term = 1; term <= terms; ++term) {
    sum += 1.0 / term;
  }
  return sum;
}

__attribute__((noipa)) static double add_rounds(int rounds) {
  double sum = 0;
  for (int round = 0; round < rounds; ++round) {
    sum += add_terms(10000);
  }
  return sum;
}

int main(void) {
  const time_t end = time(NULL) + 2;
  double sum = 0;
  while (time(NULL) < end) {
    sum += add_rounds(10);
  }
  printf("%s\n", sum > 0 ? "done" : "nothing");
  return 0;
}
