/* coir/fiber.hpp - coir/runtime.h and coir/fiber.h for C++.
 * SPDX-License-Identifier: MIT */
#ifndef COIR_FIBER_HPP
#define COIR_FIBER_HPP

#include <coir/time.hpp>

#include <exception>
#include <memory>
#include <optional>
#include <type_traits>
#include <utility>

namespace coir
{

/* What a function returned or threw, kept until somebody asks. */
template <typename Value> class outcome
{
    static_assert(!std::is_reference_v<Value>, "return a pointer, or std::ref");

  public:
    template <typename Function> void run(Function &function) noexcept
    {
        try {
            if constexpr (std::is_void_v<Value>) {
                function();
                value_.emplace();
            } else {
                value_.emplace(function());
            }
        } catch (...) {
            thrown_ = std::current_exception();
        }
    }
    bool has_thrown() const noexcept
    {
        return thrown_ != nullptr;
    }
    /* The value, which is moved out, or the exception. */
    Value get()
    {
        if (thrown_)
            std::rethrow_exception(thrown_);
        if constexpr (!std::is_void_v<Value>)
            return std::move(*value_);
    }

  private:
    struct nothing {
    };
    std::optional<std::conditional_t<std::is_void_v<Value>, nothing, Value>> value_;
    std::exception_ptr thrown_;
};

/* coir_run: run function() as a fiber, with the calling thread as a worker, and return what it
 * returns, or throw what it throws. */
template <typename Function>
std::invoke_result_t<Function &> run(Function function, const coir_options *options = nullptr)
{
    struct {
        Function &function;
        outcome<std::invoke_result_t<Function &>> result;
    } first{ function, {} };
    using first_type = decltype(first);
    auto call = [](void *arg) noexcept {
        auto *f = static_cast<first_type *>(arg);
        f->result.run(f->function);
    };
    check(coir_run(call, &first, options), "coir::run");
    return first.result.get();
}

/* A fiber and its handle. An exception that leaves its function is std::terminate's, unless it only
 * says that the fiber was cancelled, or that its deadline, which it inherits, has passed. */
class fiber
{
  public:
    fiber() noexcept = default;
    /* attr may not have COIR_DETACHED, which is an EINVAL: nobody could wait for the end. */
    template <typename Function,
              typename = std::enable_if_t<!std::is_same_v<std::decay_t<Function>, fiber>>>
    explicit fiber(Function &&function, const coir_attr *attr = nullptr)
    {
        using closure = std::decay_t<Function>;
        if (attr && attr->flags & COIR_DETACHED)
            throw std::system_error(EINVAL, std::generic_category(), "coir::fiber");
        auto own = std::make_unique<closure>(std::forward<Function>(function));
        handle_ = coir_spawn_with(attr, run<closure>, own.get());
        if (!handle_)
            throw_errno("coir::fiber");
        (void)own.release();
    }
    fiber(fiber &&other) noexcept : handle_(std::exchange(other.handle_, nullptr))
    {
    }
    fiber &operator=(fiber &&other) noexcept
    {
        fiber before(std::move(*this));
        handle_ = std::exchange(other.handle_, nullptr);
        return *this;
    }
    /* Cancels it, if it was neither joined nor detached, and waits for its end. */
    ~fiber()
    {
        if (!handle_)
            return;
        shield whatever_happens;
        coir_cancel(handle_);
        coir_join(handle_, nullptr);
    }

    bool joinable() const noexcept
    {
        return handle_ != nullptr;
    }
    /* Throws at the caller's deadline or cancel; it may be joined again then. */
    void join()
    {
        check(coir_join(handle_, nullptr), "coir::fiber::join");
        handle_ = nullptr;
    }
    void detach()
    {
        check(coir_detach(handle_), "coir::fiber::detach");
        handle_ = nullptr;
    }
    void cancel() noexcept
    {
        coir_cancel(handle_);
    }
    coir_fiber *native_handle() const noexcept
    {
        return handle_;
    }

  private:
    template <typename Closure> static void *run(void *arg)
    {
        std::unique_ptr<Closure> own(static_cast<Closure *>(arg));
        try {
            (*own)();
        } catch (const std::system_error &e) {
            const bool says_so =
                e.code() == std::errc::operation_canceled || e.code() == std::errc::timed_out;
            if (!says_so || coir_check() == 0)
                throw;
        }
        return nullptr;
    }

    coir_fiber *handle_ = nullptr;
};

} // namespace coir

#endif
