// SPDX-License-Identifier: MIT
int main(void) {
  return *(volatile int*)0;
}
