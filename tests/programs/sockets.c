// SPDX-License-Identifier: MIT
// Pairs of sockets of a program with itself.
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <unistd.h>

static void show(const char *what, long answer) {
  printf("%s: %ld%s%s\n", what, answer, answer < 0 ? " " : "",
         answer < 0 ? strerrorname_np(errno) : "");
}
#define SHOW(...) show(#__VA_ARGS__, (long)(__VA_ARGS__))

static int ends[2];
static char text[4096];

static int events_of(int file) {
  struct pollfd one = {.fd = file, .events = POLLIN | POLLOUT | POLLRDHUP};
  poll(&one, 1, 0);
  return one.revents;
}

static long get(int option) {
  int value = -1;
  socklen_t bytes = sizeof value;
  const int answer = getsockopt(ends[0], SOL_SOCKET, option, &value, &bytes);
  return answer < 0 ? -errno : value;
}

static void take(int flags, size_t most) {
  memset(text, 0, sizeof text);
  const long got = recv(ends[1], text, most, flags);
  printf("received %ld %s %s\n", got, got < 0 ? strerrorname_np(errno) : "", text);
}

static void wrong(void) {
  SHOW(socketpair(AF_INET, SOCK_STREAM, 0, ends));
  SHOW(socketpair(AF_UNIX, SOCK_STREAM, 6, ends));
  SHOW(socketpair(AF_UNIX, 4, 0, ends));
  SHOW(socketpair(AF_UNIX, 12, 0, ends));
  SHOW(socketpair(AF_UNIX, SOCK_STREAM | 0x100, 0, ends));
  SHOW(socketpair(AF_UNIX, SOCK_STREAM, 0, (int *)8));
  SHOW(send(0, "x", 1, 0));
  SHOW(recv(900, text, 1, 0));
  SHOW(shutdown(0, SHUT_RD));
}

static void all_kinds(int kind) {
  printf("kind %d\n", kind);
  SHOW(socketpair(AF_UNIX, kind | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, ends));
  struct stat is;
  fstat(ends[0], &is);
  printf("%o %ld, flags %o %d\n", is.st_mode, (long)is.st_size, fcntl(ends[0], F_GETFL),
         fcntl(ends[0], F_GETFD));
  struct sockaddr_un name;
  socklen_t bytes = sizeof name;
  SHOW(getsockname(ends[0], (struct sockaddr *)&name, &bytes));
  printf("%d bytes, family %d\n", bytes, name.sun_family);
  printf("%ld %ld %ld %ld %ld %ld\n", get(SO_TYPE), get(SO_DOMAIN), get(SO_PROTOCOL),
         get(SO_ERROR), get(SO_ACCEPTCONN), get(9999));
  printf("%ld %ld\n", get(SO_SNDBUF), get(SO_RCVBUF));
  SHOW(lseek(ends[0], 0, SEEK_SET));
  SHOW(pread(ends[0], text, 1, 0));
  printf("events %x\n", events_of(ends[0]));
  take(0, 10);
  SHOW(send(ends[0], "first", 5, 0));
  SHOW(write(ends[0], "second", 6));
  printf("events %x\n", events_of(ends[1]));
  int waiting = -1;
  ioctl(ends[1], FIONREAD, &waiting);
  printf("waiting %d\n", waiting);
  take(MSG_PEEK, 8);
  take(0, 3);
  take(MSG_TRUNC, 2);
  take(MSG_DONTWAIT, 100);
  take(0, 100);
  struct iovec parts[] = {{"in ", 3}, {"parts", 5}};
  SHOW(writev(ends[0], parts, 2));
  char start[2], rest[20] = {0};
  struct iovec room[] = {{start, 2}, {rest, 19}};
  SHOW(readv(ends[1], room, 2));
  printf("%.2s|%s\n", start, rest);
  SHOW(send(ends[0], "", 0, 0));
  take(0, 10);
  const struct sockaddr_un to = {.sun_family = AF_UNIX, .sun_path = "/nowhere"};
  SHOW(sendto(ends[0], "x", 1, 0, (const struct sockaddr *)&to, sizeof to) < 0);
  take(0, 10);
  SHOW(shutdown(ends[0], 9));
  SHOW(shutdown(ends[0], SHUT_WR));
  printf("events %x %x\n", events_of(ends[0]), events_of(ends[1]));
  SHOW(send(ends[0], "x", 1, MSG_NOSIGNAL));
  SHOW(send(ends[1], "back", 4, 0));
  SHOW(read(ends[0], text, 10));
  close(ends[0]);
  printf("events %x\n", events_of(ends[1]));
  SHOW(send(ends[1], "x", 1, MSG_NOSIGNAL));
  SHOW(send(ends[1], "x", 1, MSG_NOSIGNAL));
  close(ends[1]);
}

static void unread(int kind) {
  socketpair(AF_UNIX, kind | SOCK_NONBLOCK, 0, ends);
  send(ends[1], "x", 1, 0);
  send(ends[0], "y", 1, 0);
  close(ends[0]);
  printf("events %x\n", events_of(ends[1]));
  take(0, 10);
  take(0, 10);
  take(0, 10);
  close(ends[1]);
}

static volatile int handled;
static void handle(int number) { handled = number; }

static void full_and_gone(void) {
  signal(SIGPIPE, handle);
  socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, ends);
  struct epoll_event event = {.events = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET}, got;
  const int list = epoll_create1(0);
  epoll_ctl(list, EPOLL_CTL_ADD, ends[0], &event);
  SHOW(epoll_wait(list, &got, 1, 0));
  SHOW(epoll_wait(list, &got, 1, 0));
  long sent = 0, some;
  while ((some = send(ends[0], text, sizeof text, 0)) > 0) {
    sent += some;
  }
  printf("full: %d, %s\n", sent > 100000, strerrorname_np(errno));
  printf("events %x\n", events_of(ends[0]));
  while (read(ends[1], text, sizeof text) > 0) {
  }
  SHOW(epoll_wait(list, &got, 1, 0));
  SHOW(epoll_wait(list, &got, 1, 0));
  close(ends[1]);
  SHOW(epoll_wait(list, &got, 1, 0));
  printf("%x\n", got.events);
  SHOW(send(ends[0], "x", 1, 0));
  printf("handled %d\n", handled);
  handled = 0;
  SHOW(write(ends[0], "x", 1));
  printf("handled %d\n", handled);
  close(ends[0]);
  close(list);
}

static void files(void) {
  socketpair(AF_UNIX, SOCK_STREAM, 0, ends);
  int inner[2];
  pipe(inner);
  write(inner[1], "through", 7);
  union {
    char bytes[CMSG_SPACE(2 * sizeof(int))];
    struct cmsghdr header;
  } control = {.header = {CMSG_LEN(2 * sizeof(int)), SOL_SOCKET, SCM_RIGHTS}};
  memcpy(CMSG_DATA(&control.header), inner, sizeof inner);
  struct iovec part = {"with files", 10};
  struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1, .msg_control = &control,
                           .msg_controllen = sizeof control};
  SHOW(send(ends[0], "before ", 7, 0));
  SHOW(sendmsg(ends[0], &message, 0));
  SHOW(send(ends[0], " behind", 7, 0));
  close(inner[0]);
  close(inner[1]);
  part = (struct iovec){text, sizeof text};
  for (int count = 0; count < 2; ++count) {
    memset(text, 0, sizeof text);
    memset(&control, 0, sizeof control);
    message.msg_control = &control;
    message.msg_controllen = sizeof control;
    SHOW(recvmsg(ends[1], &message, MSG_CMSG_CLOEXEC | MSG_DONTWAIT));
    printf("%s, control %zu, flags %x\n", text, message.msg_controllen, message.msg_flags);
    if (message.msg_controllen != 0) {
      memcpy(inner, CMSG_DATA(&control.header), sizeof inner);
      printf("flags %d\n", fcntl(inner[0], F_GETFD));
      memset(text, 0, sizeof text);
      SHOW(read(inner[0], text, 10));
      printf("%s\n", text);
      close(inner[1]);
      SHOW(read(inner[0], text, 10));
    }
  }
  const int on = 1;
  SHOW(setsockopt(ends[1], SOL_SOCKET, SO_PASSCRED, &on, sizeof on));
  SHOW(send(ends[0], "whose", 5, 0));
  memset(&control, 0, sizeof control);
  message.msg_controllen = sizeof control;
  SHOW(recvmsg(ends[1], &message, 0));
  const struct ucred *const sender = (const struct ucred *)CMSG_DATA(&control.header);
  printf("type %d, own %d, flags %x\n", control.header.cmsg_type, sender->pid == getpid(),
         message.msg_flags);
  const int none = -1;
  control.header = (struct cmsghdr){CMSG_LEN(sizeof none), SOL_SOCKET, SCM_RIGHTS};
  memcpy(CMSG_DATA(&control.header), &none, sizeof none);
  message.msg_controllen = CMSG_LEN(sizeof none);
  SHOW(sendmsg(ends[0], &message, 0));
  SHOW(setsockopt(ends[0], SOL_SOCKET, SO_SNDBUF, &on, sizeof on));
  SHOW(setsockopt(ends[0], SOL_SOCKET, 9999, &on, sizeof on));
  SHOW(setsockopt(ends[0], SOL_SOCKET, SO_SNDBUF, &on, 2));
  SHOW(setsockopt(ends[0], 6, 1, &on, sizeof on));
  printf("%ld\n", get(SO_SNDBUF));
  SHOW(send(ends[0], "all", 3, 0));
  SHOW(send(ends[0], " of it", 6, 0));
  take(MSG_WAITALL, 9);
  SHOW(splice(ends[1], 0, inner[0], 0, 5, SPLICE_F_NONBLOCK) < 0);
}

static void several_messages(void) {
  socketpair(AF_UNIX, SOCK_DGRAM, 0, ends);
  char words[3][6] = {"one", "two", "three"};
  struct iovec parts[3];
  struct mmsghdr all[3];
  memset(all, 0, sizeof all);
  for (int index = 0; index < 3; ++index) {
    parts[index] = (struct iovec){words[index], strlen(words[index])};
    all[index].msg_hdr.msg_iov = &parts[index];
    all[index].msg_hdr.msg_iovlen = 1;
  }
  SHOW(sendmmsg(ends[0], all, 3, 0));
  printf("%u %u %u\n", all[0].msg_len, all[1].msg_len, all[2].msg_len);
  SHOW(sendmmsg(ends[0], all, 0, 0));
  SHOW(recvmmsg(ends[1], all, 0, 0, NULL));
  struct timespec most = {100, 0};
  for (int turn = 0; turn < 3; ++turn) {
    for (int index = 0; index < 3; ++index) {
      parts[index] = (struct iovec){words[index], 4};
      all[index].msg_len = 77;
    }
    SHOW(recvmmsg(ends[1], all, turn == 0 ? 2 : 3, turn == 2 ? MSG_DONTWAIT : MSG_WAITFORONE, &most));
    printf("%u %u %x %.4s %.4s\n", all[0].msg_len, all[1].msg_len, all[0].msg_hdr.msg_flags, words[0],
           words[1]);
  }
  printf("%d\n", most.tv_sec == 99 && most.tv_nsec > 0);
  most.tv_nsec = 1000000000;
  SHOW(recvmmsg(ends[1], all, 1, 0, &most));
  SHOW(send(ends[0], "x", 1, 0));
  SHOW(send(ends[0], "y", 1, 0));
  most = (struct timespec){0, 0};
  SHOW(recvmmsg(ends[1], all, 3, 0, &most)); /* looks at the time behind the first */
  SHOW(recvmmsg(ends[1], NULL, 1, 0, NULL));
  SHOW(sendmmsg(-1, all, 1, 0));
  SHOW(recvmmsg(0, all, 1, 0, NULL));
  parts[1].iov_base = (void *)8;
  parts[1].iov_len = 4;
  SHOW(sendmmsg(ends[0], all, 3, MSG_DONTWAIT)); /* as far as they are good */
  SHOW(sendmmsg(ends[0], all + 1, 1, MSG_DONTWAIT));
}

int main(void) {
  wrong();
  all_kinds(SOCK_STREAM);
  all_kinds(SOCK_DGRAM);
  all_kinds(SOCK_SEQPACKET);
  unread(SOCK_STREAM);
  unread(SOCK_SEQPACKET);
  full_and_gone();
  files();
  several_messages();
  return 0;
}
