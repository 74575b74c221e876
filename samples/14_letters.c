/* 14_letters.c - a stream from a channel, with a limit for each item.   Try:
 * build/samples/14_letters
 * SPDX-License-Identifier: MIT
 *
 * Every other letter comes too late. That is told, and the stream goes on: the letter is not lost.
 */
#include <coir.h>

#include <stdio.h>

static void *send_letters(void *arg)
{
    coir_chan *letters = arg;
    int err = 0;
    for (int i = 0; i < 10 && !err; i++) {
        char letter = (char)('a' + i);
        if (coir_sleep(COIR_MS(i % 2 ? 300 : 100)) < 0 || coir_chan_send(letters, &letter) < 0)
            err = errno;
    }
    coir_chan_close(letters);
    return err ? coir_fail(err) : NULL;
}

static int run(int argc, char **argv)
{
    char letter;
    int more;
    (void)argc, (void)argv;
    coir_chan *letters = coir_chan_new(1, 4);
    coir_fiber *sender = letters ? coir_spawn(send_letters, letters) : NULL;
    coir_stream *s =
        sender ? coir_stream_timeout(coir_stream_from_chan(letters), COIR_MS(200)) : NULL;
    if (!s) {
        perror("14_letters");
        return 2;
    }
    while ((more = coir_stream_next(s, &letter)) > 0 || (more < 0 && errno == ETIME))
        if (more > 0)
            printf("letter: %c\n", letter);
        else
            puts("late");
    coir_stream_free(s);
    int failed = coir_join(sender, NULL) < 0 || more < 0;
    coir_chan_free(letters);
    return failed;
}

int main(int argc, char **argv)
{
    int status = coir_main(argc, argv, run);
    return status < 0 ? 2 : status;
}
