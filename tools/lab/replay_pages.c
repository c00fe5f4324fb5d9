// SPDX-License-Identifier: MIT
// The only program of a Linux guest that is measured beside ours: its init. Loads the drivers, lets free
// page reporting settle, then asks for memory and gives it back as a page trace tells
// (shared/page_trace.hpp), in recorded time, and says every 20 ms how much it has.
//
// A block is a slot of an anonymous mapping; taking it writes each of its pages, giving it back is
// madvise(MADV_DONTNEED). Time that the machine cannot keep up with is added to the clock of the trace
// ("stretched"), so that how long memory is held does not shrink under load.
//
// On the first serial port, a line each:
//   idle NS            while nothing is asked for yet
//   live NS PAGES      since the trace began, to the end of the rest behind it
//   end STRETCHED_NS EVENTS
//   failed WHAT
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/reboot.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

enum { page_size = 4096, orders = 11, tick_ns = 20 * 1000 * 1000, late_ns = 2 * 1000 * 1000 };

static void end_machine(void) {
  fflush(stdout);
  fsync(STDOUT_FILENO);
  reboot(RB_AUTOBOOT); // QEMU is told to end at that
  for (;;) {
    pause();
  }
}

static void fail(const char* what) {
  printf("failed %s: %s\n", what, strerror(errno));
  end_machine();
}

static int64_t now_ns(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return now.tv_sec * 1000000000LL + now.tv_nsec;
}

static void sleep_until_ns(int64_t at) {
  const struct timespec when = {at / 1000000000, at % 1000000000};
  while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &when, NULL) == EINTR) {
  }
}

static void write_setting(const char* path, const char* text) {
  const int fd = open(path, O_WRONLY);
  if (fd < 0 || write(fd, text, strlen(text)) != (ssize_t)strlen(text)) {
    fail(path);
  }
  close(fd);
}

// Modules are /modules/0, /modules/1, ..., in the order in which they need each other.
static void load_modules(void) {
  for (int index = 0;; ++index) {
    char path[32];
    snprintf(path, sizeof path, "/modules/%d", index);
    const int fd = open(path, O_RDONLY);
    if (fd < 0) {
      return;
    }
    if (syscall(SYS_finit_module, fd, "", 0) != 0 && errno != EEXIST) {
      fail(path);
    }
    close(fd);
  }
}

static const char* option(const char* name) {
  const char* value = getenv(name); // from the kernel's command line
  if (value == NULL) {
    errno = EINVAL;
    fail(name);
  }
  return value;
}

static void* memory(size_t bytes) {
  void* place = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE,
                     -1, 0);
  if (place == MAP_FAILED) {
    fail("mmap");
  }
  return place;
}

// Of one order: slots that are free, the last one given back first, and where new ones begin.
struct slots {
  uint32_t* free;
  size_t count;
  uint64_t next_page;
};

static int order_of(uint64_t bits) {
  return (bits >> 56) & 0x7f;
}
static int is_free(uint64_t bits) {
  return (bits >> 63) != 0;
}

// Room for the most that is held at a time, order by order; all bookkeeping is touched now, so that it
// does not grow while memory is measured. Returns the pages of the arena.
static uint64_t plan_slots(const uint64_t* events, uint32_t count, struct slots* slots) {
  uint64_t held[orders] = {0}, most[orders] = {0}, pages = 0;
  for (uint32_t index = 0; index < count; ++index) {
    const uint64_t bits = events[index];
    const int order = order_of(bits);
    if (order >= orders) {
      errno = EINVAL;
      fail("an order of the trace");
    }
    if (is_free(bits)) {
      --held[order];
    } else if (++held[order] > most[order]) {
      most[order] = held[order];
    }
  }
  for (int order = orders - 1; order >= 0; --order) { // the largest first: all are aligned
    slots[order].next_page = pages;
    pages += most[order] << order;
    slots[order].free = memory(most[order] * sizeof(uint32_t) + page_size);
    memset(slots[order].free, 1, most[order] * sizeof(uint32_t));
  }
  return pages;
}

static int64_t begun_ns, next_tick_ns;

static void tick(uint64_t live_pages) {
  const int64_t now = now_ns();
  if (now >= next_tick_ns) {
    printf("live %lld %llu\n", (long long)(now - begun_ns), (unsigned long long)live_pages);
    fflush(stdout);
    next_tick_ns = now + tick_ns;
  }
}

static void rest_until_ns(int64_t at, uint64_t live_pages) {
  while (now_ns() < at) {
    sleep_until_ns(at < next_tick_ns ? at : next_tick_ns);
    tick(live_pages);
  }
}

int main(void) {
  mount("proc", "/proc", "proc", 0, NULL);
  mount("sysfs", "/sys", "sysfs", 0, NULL);
  mount("devtmpfs", "/dev", "devtmpfs", 0, NULL);
  if (freopen("/dev/ttyS0", "w", stdout) == NULL) {
    return 1;
  }
  load_modules();
  if (strcmp(option("order"), "off") != 0) {
    // Once the driver has begun to report: what it finds there then is overwritten.
    write_setting("/sys/module/page_reporting/parameters/page_reporting_order", option("order"));
  }
  write_setting("/sys/kernel/mm/transparent_hugepage/enabled",
                strcmp(option("thp"), "on") == 0 ? "always" : "never");

  const int fd = open("/trace", O_RDONLY);
  struct stat file;
  if (fd < 0 || fstat(fd, &file) != 0) {
    fail("/trace");
  }
  const uint32_t* head = mmap(NULL, file.st_size, PROT_READ, MAP_PRIVATE | MAP_POPULATE, fd, 0);
  if (head == MAP_FAILED) {
    fail("/trace");
  }
  const uint32_t count = head[2];
  const uint64_t* events = (const uint64_t*)(head + 4);

  static struct slots slots[orders];
  char* arena = memory(plan_slots(events, count, slots) * page_size);
  uint32_t* slot_of = memory((size_t)count * sizeof *slot_of);
  memset(slot_of, 1, (size_t)count * sizeof *slot_of);

  // What booting has freed is reported before anything is measured.
  const int64_t start_ns = now_ns(), ready_ns = start_ns + atoll(option("settle_ms")) * 1000000;
  while (now_ns() < ready_ns) {
    sleep_until_ns(now_ns() + tick_ns);
    printf("idle %lld\n", (long long)(now_ns() - start_ns));
    fflush(stdout);
  }

  begun_ns = next_tick_ns = now_ns();
  int64_t at_ns = begun_ns, stretched_ns = 0;
  uint64_t live = 0;
  for (uint32_t index = 0; index < count; ++index) {
    const uint64_t bits = events[index];
    const int order = order_of(bits);
    const uint32_t id = (uint32_t)bits;
    at_ns += (int64_t)((bits >> 32) & 0xffffff) * 1000;
    const int64_t late = now_ns() - at_ns;
    if (late > late_ns) {
      stretched_ns += late;
      at_ns += late;
    }
    rest_until_ns(at_ns, live);
    tick(live);
    if (is_free(bits)) {
      madvise(arena + (uint64_t)slot_of[id] * page_size, (size_t)page_size << order, MADV_DONTNEED);
      slots[order].free[slots[order].count++] = slot_of[id];
      live -= 1ULL << order;
    } else {
      struct slots* mine = &slots[order];
      if (mine->count != 0) {
        slot_of[id] = mine->free[--mine->count];
      } else {
        slot_of[id] = (uint32_t)mine->next_page;
        mine->next_page += 1ULL << order;
      }
      for (uint64_t page = 0; page < 1ULL << order; ++page) {
        *(volatile uint64_t*)(arena + (slot_of[id] + page) * page_size) = bits;
      }
      live += 1ULL << order;
    }
  }
  rest_until_ns(now_ns() + atoll(option("rest_ms")) * 1000000, live);
  printf("end %lld %u\n", (long long)stretched_ns, count);
  end_machine();
}
