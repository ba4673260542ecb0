/* GET at full speed: over kept connections, or a connection for each request, with a full or a resumed TLS handshake.
 *
 *   http_load PORT PATH [-t TLS] [-k KIND] [-z 1] [-c THREADS] [-n REQUESTS | -d SECONDS] [-p MICROSECONDS]
 *
 * TLS: off, 1.2, 1.3. KIND: keep, new, resumed. -z asks for gzip. -p waits between requests. Every answer must be a whole 200.
 * Prints one line, KEY=VALUE; `bytes` is the mean size of an answer's body.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define MAX_THREADS 256
#define MAX_LATENCIES (1 << 18)

enum kind { keep, fresh, resuming };

static struct sockaddr_in address = {.sin_family = AF_INET};
static char request[2048];
static int threads = 4, pause_us;
static enum kind kind = keep;
static double seconds = 1;
static long wanted;
static atomic_long done, failed, resumed, started, bytes;
static atomic_int stop, next_source;
static SSL_CTX *context;
static double *latencies[MAX_THREADS];
static long latency_counts[MAX_THREADS];

struct connection {
    int socket;
    SSL *ssl;
    SSL_SESSION *session;
    char *buffer;
};

#define BUFFER_SIZE (256 << 10)

static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec + t.tv_nsec / 1e9;
}

/* A ticket of TLS 1.3 comes after the handshake and is good for one connection. */
static int keep_session(SSL *ssl, SSL_SESSION *session) {
    struct connection *c = SSL_get_app_data(ssl);
    if (c->session) SSL_SESSION_free(c->session);
    c->session = session;
    return 1;
}

static int dial(struct connection *c) {
    int one = 1;
    /* Sixteen source addresses, so that ports do not run out. */
    struct sockaddr_in from = {.sin_family = AF_INET};
    from.sin_addr.s_addr = htonl(0x7f000001 + atomic_fetch_add(&next_source, 1) % 16);
    c->socket = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    setsockopt(c->socket, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &one, sizeof one);
    setsockopt(c->socket, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    if (bind(c->socket, (void *)&from, sizeof from) || connect(c->socket, (void *)&address, sizeof address)) return 0;
    if (!context) return 1;
    c->ssl = SSL_new(context);
    SSL_set_app_data(c->ssl, c);
    SSL_set_fd(c->ssl, c->socket);
    if (kind == resuming && c->session) SSL_set_session(c->ssl, c->session);
    return SSL_connect(c->ssl) == 1;
}

static void hang_up(struct connection *c) {
    if (c->ssl) SSL_shutdown(c->ssl);
    if (c->ssl) SSL_free(c->ssl);
    c->ssl = NULL;
    if (c->socket >= 0) close(c->socket);
    c->socket = -1;
}

static long take(struct connection *c, char *into, long room) {
    if (c->ssl) return SSL_read(c->ssl, into, room);
    return recv(c->socket, into, room, 0);
}

/* What is thrown away need not be copied out of the kernel. */
static long skip(struct connection *c, long room) {
    if (c->ssl) return SSL_read(c->ssl, c->buffer, room < BUFFER_SIZE ? room : BUFFER_SIZE);
    return recv(c->socket, c->buffer, room, MSG_TRUNC);
}

static int exchange(struct connection *c) {
    long length = strlen(request), have = 0, got;
    if ((c->ssl ? SSL_write(c->ssl, request, length) : send(c->socket, request, length, MSG_NOSIGNAL)) != length) return 0;
    char *end = NULL;
    while (!end) {
        got = take(c, c->buffer + have, 16384 - have);
        if (got <= 0) return 0;
        have += got;
        end = memmem(c->buffer, have, "\r\n\r\n", 4);
    }
    end[2] = 0;
    char *field = strcasestr(c->buffer, "\r\ncontent-length:");
    if (strncmp(c->buffer, "HTTP/1.1 200", 12) || !field) {
        fprintf(stderr, "%.*s\n", 200, c->buffer);
        return 0;
    }
    long body = atol(field + 17), left = body - (have - (end + 4 - c->buffer));
    while (left > 0 && (got = skip(c, left)) > 0) left -= got;
    if (left != 0) return 0;
    atomic_fetch_add(&bytes, body);
    /* To the peer's end, so that its close is part of what is measured. */
    if (kind != keep) while (take(c, c->buffer, 4096) > 0) {}
    return 1;
}

static void *run(void *argument) {
    long id = (long)argument;
    struct connection c = {.socket = -1, .buffer = malloc(BUFFER_SIZE)};
    latencies[id] = malloc(MAX_LATENCIES * sizeof(double));
    while (!atomic_load(&stop)) {
        if (wanted && atomic_fetch_add(&started, 1) >= wanted) break;
        if (pause_us) usleep(pause_us);
        double begin = now();
        int ok = (c.socket >= 0 || dial(&c)) && exchange(&c);
        if (ok && c.ssl && SSL_session_reused(c.ssl)) atomic_fetch_add(&resumed, 1);
        if (ok && kind == resuming && !c.session) c.session = SSL_get1_session(c.ssl);
        if (!ok || kind != keep) hang_up(&c);
        ERR_clear_error();
        atomic_fetch_add(ok ? &done : &failed, 1);
        if (ok && latency_counts[id] < MAX_LATENCIES) latencies[id][latency_counts[id]++] = now() - begin;
        if (!ok) usleep(1000);
    }
    hang_up(&c);
    return NULL;
}

static int by_value(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static void use_tls(const char *version) {
    if (!strcmp(version, "off")) return;
    int number = strcmp(version, "1.2") ? TLS1_3_VERSION : TLS1_2_VERSION;
    context = SSL_CTX_new(TLS_client_method());
    SSL_CTX_set_min_proto_version(context, number);
    SSL_CTX_set_max_proto_version(context, number);
    SSL_CTX_set_verify(context, SSL_VERIFY_NONE, NULL);
    SSL_CTX_set_session_cache_mode(context, SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL);
}

int main(int count, char **arguments) {
    if (count < 3) return 64;
    signal(SIGPIPE, SIG_IGN);
    inet_pton(AF_INET, "127.0.0.1", &address.sin_addr);
    address.sin_port = htons(atoi(arguments[1]));
    int gzip = 0;
    for (int i = 3; i + 1 < count; i += 2) {
        const char *value = arguments[i + 1];
        switch (arguments[i][1]) {
        case 't': use_tls(value); break;
        case 'k': kind = !strcmp(value, "new") ? fresh : !strcmp(value, "resumed") ? resuming : keep; break;
        case 'z': gzip = 1; break;
        case 'c': threads = atoi(value) < MAX_THREADS ? atoi(value) : MAX_THREADS; break;
        case 'd': seconds = atof(value); break;
        case 'n': wanted = atol(value); break;
        case 'p': pause_us = atoi(value); break;
        default: return 64;
        }
    }
    if (kind == resuming && context) SSL_CTX_sess_set_new_cb(context, keep_session);
    snprintf(request, sizeof request, "GET %s HTTP/1.1\r\nHost: localhost\r\n%s%s\r\n", arguments[2],
             gzip ? "Accept-Encoding: gzip\r\n" : "", kind == keep ? "" : "Connection: close\r\n");
    pthread_t ids[MAX_THREADS];
    double begin = now();
    for (long i = 0; i < threads; i++) pthread_create(&ids[i], 0, run, (void *)i);
    if (!wanted) {
        usleep(seconds * 1e6);
        atomic_store(&stop, 1);
    }
    for (int i = 0; i < threads; i++) pthread_join(ids[i], 0);
    double elapsed = now() - begin, *all = NULL;
    long measured = 0;
    for (int i = 0; i < threads; i++) {
        all = realloc(all, (measured + latency_counts[i] + 1) * sizeof *all);
        memcpy(all + measured, latencies[i], latency_counts[i] * sizeof *all);
        measured += latency_counts[i];
    }
    if (measured) qsort(all, measured, sizeof *all, by_value);
    printf("count=%ld failed=%ld resumed=%ld seconds=%.4f p50_us=%.1f p99_us=%.1f bytes=%.0f\n", (long)done, (long)failed,
           (long)resumed, elapsed, measured ? all[measured / 2] * 1e6 : 0, measured ? all[(long)(measured * .99)] * 1e6 : 0,
           done ? (double)bytes / done : 0);
    return failed > 0 || (kind == resuming && resumed < done - threads);
}
