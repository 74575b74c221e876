/* coir/scope.hpp - coir/scope.h for C++.
 * SPDX-License-Identifier: MIT */
#ifndef COIR_SCOPE_HPP
#define COIR_SCOPE_HPP

#include <coir/time.hpp>

#include <atomic>
#include <exception>
#include <memory>
#include <type_traits>
#include <utility>

namespace coir
{

/* A coir_scope: children that all end before it does. A child fails by an exception, or, if it
 * returns an int, by -1 with errno. */
class scope
{
  public:
    /* At most fibers_max children run at a time, 0: all; flags as in coir_scope_attr. */
    explicit scope(unsigned fibers_max = 0, unsigned flags = 0)
    {
        coir_scope_attr attr = COIR_ZERO;
        attr.fibers_max = fibers_max;
        attr.flags = flags;
        check(coir_scope_open_with(&scope_, &attr), "coir::scope");
    }
    scope(const scope &) = delete;
    scope &operator=(const scope &) = delete;
    /* Cancels the children that are left, and waits for their end. */
    ~scope()
    {
        coir_scope_close(&scope_);
    }

    /* Start a child. False, and function was destroyed without a call, when the scope was
     * cancelled or another child has failed: wait() says how. Not after wait(): EINVAL. */
    template <typename Function> bool spawn(Function &&function, const coir_attr *attr = nullptr)
    {
        using closure = child<std::decay_t<Function>>;
        auto own = std::make_unique<closure>(closure{ *this, std::forward<Function>(function) });
        if (coir_scope_spawn_with(&scope_, attr, closure::run, own.get()) == 0) {
            (void)own.release();
            return true;
        }
        if (errno != ECANCELED)
            throw_errno("coir::scope::spawn");
        return false;
    }
    void cancel() noexcept
    {
        coir_scope_cancel(&scope_);
    }
    /* Wait for all. Throws what the child that failed first has thrown, or its errno, or the
     * caller's ETIMEDOUT or ECANCELED. */
    void wait()
    {
        if (coir_scope_wait(&scope_) == 0)
            return;
        int error = errno;
        if (thrown_ && thrown_error_ == error)
            std::rethrow_exception(std::exchange(thrown_, nullptr));
        throw std::system_error(error, std::generic_category(), "coir::scope::wait");
    }

  private:
    /* The first failure is kept, with its exception if it is one: not those that only say that
     * their fiber was cancelled. */
    int keep(std::exception_ptr thrown, int error) noexcept
    {
        if (error != ECANCELED && !failed_.test_and_set()) {
            thrown_ = std::move(thrown);
            thrown_error_ = error;
        }
        return error;
    }

    template <typename Function> struct child {
        scope &parent;
        Function function;

        static int run(void *arg) noexcept
        {
            std::unique_ptr<child> own(static_cast<child *>(arg));
            scope &parent = own->parent;
            int result = 0, error;
            try {
                if constexpr (std::is_same_v<std::invoke_result_t<Function &>, int>)
                    result = own->function();
                else
                    own->function();
                error = result < 0 ? parent.keep(nullptr, errno) : 0;
            } catch (const std::system_error &e) {
                const bool is_errno = e.code().category() == std::generic_category() ||
                                      e.code().category() == std::system_category();
                const int number = is_errno && e.code().value() > 0 ? e.code().value() : EIO;
                error = parent.keep(std::current_exception(), number);
                result = -1;
            } catch (...) {
                error = parent.keep(std::current_exception(), EIO);
                result = -1;
            }
            own.reset(); /* the function's last words may change errno */
            errno = error;
            return result;
        }
    };

    coir_scope scope_ = COIR_SCOPE_INIT;
    std::atomic_flag failed_ = ATOMIC_FLAG_INIT;
    std::exception_ptr thrown_;
    int thrown_error_ = 0;
};

} // namespace coir

#endif
