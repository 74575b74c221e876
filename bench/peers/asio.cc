/* bench/peers/asio.cc - an echo server on Boost.Asio.   Try: asio echo 50
 * SPDX-License-Identifier: MIT
 *
 * echo N  N connections, callbacks on one thread, which Asio is told of (a concurrency hint of 1):
 *         then it takes fewer locks. async_write tries at once; to do that by hand is no faster. */
#include <boost/asio.hpp>
#include <boost/version.hpp>

#include <libgen.h>
#include <memory>

#include "../client.h"

namespace asio = boost::asio;
using asio::ip::tcp;

namespace
{

struct served served;

class connection : public std::enable_shared_from_this<connection>
{
public:
    explicit connection(tcp::socket socket) : socket_(std::move(socket)) {}

    void read()
    {
        socket_.async_read_some(asio::buffer(bytes_),
                                [self = shared_from_this()](auto error, std::size_t n) {
                                    if (!error)
                                        self->answer(n);
                                });
    }

private:
    void answer(std::size_t n)
    {
        asio::async_write(socket_, asio::buffer(bytes_, n),
                          [self = shared_from_this()](auto error, std::size_t sent) {
                              if (error)
                                  return;
                              count_served(&served, static_cast<long>(sent));
                              self->read();
                          });
    }

    tcp::socket socket_;
    char bytes_[4096];
};

/* The loop ends when the last connection has. */
void accept(tcp::acceptor &acceptor, long left)
{
    if (left == 0)
        return acceptor.close();
    acceptor.async_accept([&acceptor, left](auto error, tcp::socket socket) {
        if (error)
            die("accept");
        std::make_shared<connection>(std::move(socket))->read();
        accept(acceptor, left - 1);
    });
}

void echo(long n, const char *directory)
{
    struct client client;
    char more[256];
    asio::io_context context(1);
    tcp::acceptor acceptor(context, tcp::endpoint(asio::ip::address_v4::loopback(), 0));
    acceptor.listen(4096);
    served.all = n * echo_requests(n) + 1;
    client_start(&client, directory, acceptor.native_handle(), n, echo_requests(n), 1);
    accept(acceptor, n);
    context.run();
    client_end(&client);
    print_served(more, sizeof more, &served, &client);
    report("echo", (double)(served.t1 - served.t0) / (double)(served.all - 1), served.all - 1,
           nullptr, more);
}

} // namespace

int main(int argc, char **argv)
{
    long n = argc == 3 && !strcmp(argv[1], "echo") ? atol(argv[2]) : 0;
    if (argc == 3 && !strcmp(argv[1], "version")) {
        report_version("Boost.Asio", BOOST_LIB_VERSION);
        return 0;
    }
    if (n < 1) {
        fprintf(stderr, "usage: %s echo CONNECTIONS\n", argv[0]);
        return 2;
    }
    allow_files();
    echo(n, dirname(argv[0]));
    return 0;
}
