/* Pushes at full speed, or takes pushes as cheaply as can be: the sink's cost is what no receiver can go below.
 *
 *   push_load conn   ADDR DIR [-c N] [-n PUSHES | -d SECONDS]   a connection for each push: send, end our side, wait for the peer's end
 *   push_load stream ADDR DIR [-c N] [-n PUSHES | -d SECONDS]   N connections with many messages each; ends when each peer has closed
 *   push_load once   ADDR DIR                                   every file once, a connection each: fills
 *   push_load sink   ADDR                                       accepts, reads to the end, closes
 *
 * ADDR is tcp:HOST:PORT or unix:PATH. DIR holds the messages, a file each, sent in turn. -S N takes N loopback source
 * addresses in turn, so that a connection for each push does not run out of ports. Prints one line, KEY=VALUE.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#define MAX_THREADS 256

static struct sockaddr_storage address;
static socklen_t address_length;
static int family;
static struct { char *bytes; size_t length; } *messages;
static int message_count, threads = 4, sources = 1;
static double seconds = 1;
static long pushes_wanted;
static atomic_long pushed, failed, next_message;
static atomic_int stop, next_source;
static double *latencies[MAX_THREADS];
static long latency_counts[MAX_THREADS];

static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec + t.tv_nsec / 1e9;
}

static _Noreturn void die(const char *what) {
    perror(what);
    exit(2);
}

static void parse_address(const char *text) {
    if (!strncmp(text, "unix:", 5)) {
        struct sockaddr_un *u = (void *)&address;
        u->sun_family = family = AF_UNIX;
        snprintf(u->sun_path, sizeof u->sun_path, "%s", text + 5);
        address_length = sizeof *u;
        return;
    }
    char host[64];
    const char *colon = strrchr(text, ':');
    struct sockaddr_in *i = (void *)&address;
    if (strncmp(text, "tcp:", 4) || colon < text + 4) exit(64);
    snprintf(host, sizeof host, "%.*s", (int)(colon - text - 4), text + 4);
    i->sin_family = family = AF_INET;
    i->sin_port = htons(atoi(colon + 1));
    if (inet_pton(AF_INET, host, &i->sin_addr) != 1) exit(64);
    address_length = sizeof *i;
}

static int by_name(const void *a, const void *b) { return strcmp(*(char *const *)a, *(char *const *)b); }

static void load(const char *folder) {
    DIR *directory = opendir(folder);
    if (!directory) die(folder);
    char **names = NULL;
    struct dirent *entry;
    while ((entry = readdir(directory)))
        if (entry->d_name[0] != '.') {
            names = realloc(names, (message_count + 1) * sizeof *names);
            names[message_count++] = strdup(entry->d_name);
        }
    if (!message_count) die(folder);
    qsort(names, message_count, sizeof *names, by_name);
    messages = calloc(message_count, sizeof *messages);
    for (int i = 0; i < message_count; i++) {
        char path[4096];
        struct stat status;
        snprintf(path, sizeof path, "%s/%s", folder, names[i]);
        int file = open(path, O_RDONLY);
        if (file < 0 || fstat(file, &status)) die(path);
        messages[i].bytes = malloc(status.st_size);
        messages[i].length = status.st_size;
        if (read(file, messages[i].bytes, status.st_size) != status.st_size) die(path);
        close(file);
    }
}

static int dial(void) {
    int s = socket(family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (s < 0) return -1;
    if (sources > 1 && family == AF_INET) {
        int one = 1;
        struct sockaddr_in from = {.sin_family = AF_INET};
        from.sin_addr.s_addr = htonl(0x7f000001 + atomic_fetch_add(&next_source, 1) % sources);
        setsockopt(s, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &one, sizeof one);
        if (bind(s, (void *)&from, sizeof from)) {
            close(s);
            return -1;
        }
    }
    while (connect(s, (void *)&address, address_length)) {
        if (errno == EINTR) continue;
        if (errno == EAGAIN) {
            usleep(100);
            continue;
        }
        close(s);
        return -1;
    }
    return s;
}

static int send_all(int s, const char *bytes, size_t length) {
    while (length) {
        ssize_t sent = send(s, bytes, length, MSG_NOSIGNAL);
        if (sent < 0 && errno != EINTR) return -1;
        if (sent > 0) {
            bytes += sent;
            length -= sent;
        }
    }
    return 0;
}

/* Silence until the peer's end says that all was applied; a line is a refusal. */
static int end(int s) {
    char answer[256];
    shutdown(s, SHUT_WR);
    while (1) {
        ssize_t length = read(s, answer, sizeof answer);
        if (length < 0 && errno == EINTR) continue;
        if (length > 0) fprintf(stderr, "%.*s", (int)length, answer);
        return length == 0 ? 0 : -1;
    }
}

static void *one_each(void *argument) {
    long id = (long)argument, room = 1 << 20;
    latencies[id] = malloc(room * sizeof(double));
    while (!atomic_load(&stop)) {
        long i = atomic_fetch_add(&next_message, 1);
        if (pushes_wanted && i >= pushes_wanted) break;
        double begin = now();
        int s = dial();
        int ok = s >= 0 && !send_all(s, messages[i % message_count].bytes, messages[i % message_count].length) && !end(s);
        if (s >= 0) close(s);
        if (!ok) {
            atomic_fetch_add(&failed, 1);
            continue;
        }
        atomic_fetch_add(&pushed, 1);
        if (latency_counts[id] < room) latencies[id][latency_counts[id]++] = now() - begin;
    }
    return NULL;
}

static void *many_each(void *argument) {
    (void)argument;
    int s = dial(), ok = s >= 0;
    long sent = 0;
    while (ok && !atomic_load(&stop)) {
        long i = atomic_fetch_add(&next_message, 1);
        if (pushes_wanted && i >= pushes_wanted) break;
        ok = !send_all(s, messages[i % message_count].bytes, messages[i % message_count].length);
        sent += ok;
    }
    if (!ok || end(s)) atomic_fetch_add(&failed, 1);
    if (s >= 0) close(s);
    atomic_fetch_add(&pushed, sent);
    return NULL;
}

static _Noreturn void sink(void) {
    if (family == AF_UNIX) unlink(((struct sockaddr_un *)&address)->sun_path);
    int listener = socket(family, SOCK_STREAM | SOCK_NONBLOCK, 0), one = 1;
    setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    if (bind(listener, (void *)&address, address_length) || listen(listener, 4096)) die("listen");
    int poll = epoll_create1(0);
    struct epoll_event event = {.events = EPOLLIN, .data.fd = listener}, events[64];
    epoll_ctl(poll, EPOLL_CTL_ADD, listener, &event);
    static char bytes[1 << 16];
    while (1) {
        int count = epoll_wait(poll, events, 64, -1);
        for (int i = 0; i < count; i++) {
            int s = events[i].data.fd;
            if (s == listener) {
                int accepted;
                while ((accepted = accept4(listener, 0, 0, SOCK_NONBLOCK)) >= 0) {
                    event.data.fd = accepted;
                    epoll_ctl(poll, EPOLL_CTL_ADD, accepted, &event);
                }
                continue;
            }
            ssize_t length;
            while ((length = read(s, bytes, sizeof bytes)) > 0) {}
            if (length == 0 || errno != EAGAIN) close(s);
        }
    }
}

static int by_value(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

int main(int count, char **arguments) {
    if (count < 3) return 64;
    signal(SIGPIPE, SIG_IGN);
    parse_address(arguments[2]);
    if (!strcmp(arguments[1], "sink")) sink();
    if (count < 4) return 64;
    load(arguments[3]);
    for (int i = 4; i + 1 < count; i += 2) {
        if (!strcmp(arguments[i], "-c")) threads = atoi(arguments[i + 1]);
        else if (!strcmp(arguments[i], "-d")) seconds = atof(arguments[i + 1]);
        else if (!strcmp(arguments[i], "-n")) pushes_wanted = atol(arguments[i + 1]);
        else if (!strcmp(arguments[i], "-S")) sources = atoi(arguments[i + 1]);
    }
    int streams = !strcmp(arguments[1], "stream");
    if (!strcmp(arguments[1], "once")) pushes_wanted = message_count;
    if (threads > MAX_THREADS) threads = MAX_THREADS;
    pthread_t ids[MAX_THREADS];
    double begin = now();
    for (long i = 0; i < threads; i++) pthread_create(&ids[i], 0, streams ? many_each : one_each, (void *)i);
    if (!pushes_wanted) {
        usleep(seconds * 1e6);
        atomic_store(&stop, 1);
    }
    for (int i = 0; i < threads; i++) pthread_join(ids[i], 0);
    double elapsed = now() - begin, *all = NULL;
    long measured = 0;
    for (int i = 0; i < threads && !streams; i++) {
        all = realloc(all, (measured + latency_counts[i] + 1) * sizeof *all);
        memcpy(all + measured, latencies[i], latency_counts[i] * sizeof *all);
        measured += latency_counts[i];
    }
    if (measured) qsort(all, measured, sizeof *all, by_value);
    printf("count=%ld failed=%ld seconds=%.4f p50_us=%.1f p99_us=%.1f\n", (long)pushed, (long)failed, elapsed,
           measured ? all[measured / 2] * 1e6 : 0, measured ? all[(long)(measured * .99)] * 1e6 : 0);
    return failed > 0;
}
