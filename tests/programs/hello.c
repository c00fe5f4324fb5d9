// SPDX-License-Identifier: MIT
// Says what it was called with, by the C library's buffered output.
#include <stdio.h>
#include <stdlib.h>

int main(int argc, char** argv) {
  printf("%d arguments\n", argc - 1);
  for (int index = 1; index < argc; ++index) {
    printf("%d: <%s>\n", index, argv[index]);
  }
  char* const text = malloc(1000000);
  for (int index = 0; index < 1000000; ++index) {
    text[index] = (char)index;
  }
  fprintf(stderr, "%d\n", text[999999]);
  free(text);
  return 10 + argc;
}
