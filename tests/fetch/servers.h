/* tests/fetch/servers.h - nginx and tinyproxy, with certificates of a test's own authority.
 * To be included by one file of a test.
 * SPDX-License-Identifier: MIT */
#ifndef SERVERS_H
#define SERVERS_H

#include <arpa/inet.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

enum { HTTP_PORT, TLS_PORT, EXPIRED_PORT, SELF_PORT, CLIENT_PORT, PROXY_PORT, PORTS };

static struct {
    char dir[64];
    int port[PORTS];
    pid_t nginx, proxy;
} servers;

static const char certificates[] =
    "set -e; exec > /dev/null 2>&1\n"
    "new() { openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj /CN=$2"
    "        -keyout $1.key -out $1.csr; }\n"
    "sign() { printf 'subjectAltName=%s' \"$2\" > ext\n"
    "         openssl x509 -req -in $1.csr -CA ca.pem -CAkey ca.key -CAcreateserial -out $1.pem"
    "         -extfile ext $3; }\n"
    "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj /CN=test-ca"
    "    -keyout ca.key -out ca.pem -days 9\n"
    "new good localhost; sign good DNS:localhost,IP:127.0.0.2 '-days 9'\n"
    "new client me; sign client DNS:me '-days 9'\n"
    "new old localhost; touch index; echo 01 > serial; mkdir -p certs\n"
    "printf '[ca]\\ndefault_ca=x\\n[x]\\nnew_certs_dir=certs\\ndatabase=index\\nserial=serial\\n"
    "default_md=sha256\\npolicy=p\\n[p]\\ncommonName=supplied\\n' > ca.cnf\n"
    "printf 'subjectAltName=DNS:localhost' > ext\n"
    "openssl ca -batch -config ca.cnf -in old.csr -out old.pem -cert ca.pem -keyfile ca.key"
    "    -extfile ext -startdate 20200101000000Z -enddate 20200102000000Z -notext\n"
    "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj /CN=localhost"
    "    -addext subjectAltName=DNS:localhost -keyout self.key -out self.pem -days 9\n"
    "printf 'user:{PLAIN}secret\\n' > users\n"
    "mkdir www; head -c 100000 /dev/zero | tr '\\0' 'z' > www/zeds; echo hello > www/index.html\n"
    "head -c 600000 /dev/urandom > www/noise\n";

static const char nginx_conf[] =
    "daemon off; error_log error.log; pid nginx.pid;\n"
    "events { worker_connections 1024; }\n"
    "http { access_log off; root www; gzip on; gzip_min_length 1000; gzip_types text/plain;\n"
    "  client_body_temp_path t1; proxy_temp_path t2; fastcgi_temp_path t3; uwsgi_temp_path t4;\n"
    "  scgi_temp_path t5; default_type text/plain;\n"
    "  ssl_certificate good.pem; ssl_certificate_key good.key;\n"
    "  server { listen 127.0.0.1:%d; listen 127.0.0.1:%d ssl http2;\n"
    "    location /private { auth_basic x; auth_basic_user_file users;\n"
    "      try_files /index.html =404; }\n"
    "    location /to-plain { return 302 http://127.0.0.1:%d/; }\n"
    "    location /version { return 200 $server_protocol; } }\n"
    "  server { listen 127.0.0.1:%d ssl; ssl_certificate old.pem; ssl_certificate_key old.key; }\n"
    "  server { listen 127.0.0.1:%d ssl;\n"
    "    ssl_certificate self.pem; ssl_certificate_key self.key; }\n"
    "  server { listen 127.0.0.1:%d ssl; ssl_client_certificate ca.pem; ssl_verify_client on; }\n"
    "}\n";

static int free_port(void)
{
    struct sockaddr_in addr = { .sin_family = AF_INET, .sin_addr = { htonl(INADDR_LOOPBACK) } };
    socklen_t len = sizeof addr;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    bind(fd, (struct sockaddr *)&addr, len);
    getsockname(fd, (struct sockaddr *)&addr, &len);
    close(fd);
    return ntohs(addr.sin_port);
}

static pid_t start(const char *const argv[])
{
    pid_t pid = fork();
    if (pid == 0) {
        setenv("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", 1);
        if (chdir(servers.dir) == 0 && freopen("out", "a", stdout) && freopen("out", "a", stderr))
            execvp(argv[0], (char *const *)argv);
        _exit(127);
    }
    return pid;
}

static bool listens(int port)
{
    struct sockaddr_in addr = { .sin_family = AF_INET,
                                .sin_port = htons((uint16_t)port),
                                .sin_addr = { htonl(INADDR_LOOPBACK) } };
    for (int i = 0; i < 500; i++) {
        int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        int err = connect(fd, (struct sockaddr *)&addr, sizeof addr);
        close(fd);
        if (err == 0)
            return true;
        usleep(20000);
    }
    return false;
}

static bool write_file(const char *name, const char *text)
{
    char path[128];
    snprintf(path, sizeof path, "%s/%s", servers.dir, name);
    FILE *f = fopen(path, "w");
    return f && fputs(text, f) >= 0 && fclose(f) == 0;
}

static bool servers_start(void)
{
    char text[8192];
    const int *p = servers.port;
    strcpy(servers.dir, "/tmp/coir-fetch-XXXXXX");
    if (!mkdtemp(servers.dir) || chmod(servers.dir, 0755) < 0)
        return false;
    for (int i = 0; i < PORTS; i++)
        servers.port[i] = free_port();
    snprintf(text, sizeof text, "cd %s\n%s", servers.dir, certificates);
    if (system(text) != 0)
        return false;
    snprintf(text, sizeof text, nginx_conf, p[HTTP_PORT], p[TLS_PORT], p[HTTP_PORT],
             p[EXPIRED_PORT], p[SELF_PORT], p[CLIENT_PORT]);
    if (!write_file("nginx.conf", text))
        return false;
    snprintf(text, sizeof text, "Port %d\nListen 127.0.0.1\nTimeout 60\nMaxClients 100\n",
             p[PROXY_PORT]);
    if (!write_file("proxy.conf", text))
        return false;
    const char *const nginx[] = { "nginx", "-p", servers.dir, "-c", "nginx.conf", NULL };
    const char *const proxy[] = { "tinyproxy", "-d", "-c", "proxy.conf", NULL };
    servers.nginx = start(nginx);
    servers.proxy = start(proxy);
    return listens(p[CLIENT_PORT]) && listens(p[PROXY_PORT]);
}

static void servers_stop(void)
{
    char text[128];
    pid_t pids[] = { servers.nginx, servers.proxy };
    for (int i = 0; i < 2; i++)
        if (pids[i] > 0) {
            kill(pids[i], SIGTERM);
            waitpid(pids[i], NULL, 0);
        }
    snprintf(text, sizeof text, "rm -rf %s", servers.dir);
    if (system(text) != 0)
        perror(text);
}

#endif
