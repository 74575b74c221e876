/* coir/future.hpp - coir/future.h for C++: async calls that carry values and exceptions.
 * SPDX-License-Identifier: MIT */
#ifndef COIR_FUTURE_HPP
#define COIR_FUTURE_HPP

#include <coir/fiber.hpp>

#include <memory>
#include <optional>
#include <type_traits>
#include <utility>

namespace coir
{

/* What a fiber that async() has started will return or throw. */
template <typename Value> class future
{
  public:
    future() noexcept = default;
    future(future &&) noexcept = default;
    /* What it was before is cancelled, and its end awaited, as by the destructor. */
    future &operator=(future &&other) noexcept
    {
        future before(std::move(*this));
        state_ = std::move(other.state_);
        future_ = std::move(other.future_);
        return *this;
    }

    bool valid() const noexcept
    {
        return future_ != nullptr;
    }
    /* Is it valid, and is the value, or the exception, there? */
    bool ready() const noexcept
    {
        return valid() && coir_future_error(future_.get()) != EINPROGRESS;
    }
    void cancel() noexcept
    {
        coir_future_cancel(future_.get());
    }
    /* Wait until it is ready. Throws at the caller's deadline or cancel only. */
    void wait()
    {
        if (coir_await(future_.get(), nullptr) < 0 && errno != has_thrown)
            throw_errno("coir::future");
    }
    /* Wait, and move the value out, or throw the exception. Once only: it is not valid then. */
    Value get()
    {
        wait();
        future done(std::move(*this));
        return done.state_->result.get();
    }
    /* For coir_select and coir_await_any. */
    coir_future *native_handle() const noexcept
    {
        return future_.get();
    }

  private:
    static constexpr int has_thrown = EIO; /* the future's errno then; no caller's own is that */

    struct state {
        outcome<Value> result;
        virtual void run() noexcept = 0;
        virtual ~state() = default;
    };
    template <typename Function> struct call final : state {
        std::optional<Function> function;
        explicit call(Function &&f) : function(std::move(f))
        {
        }
        explicit call(const Function &f) : function(f)
        {
        }
        void run() noexcept override
        {
            this->result.run(*function);
            function.reset();
        }
    };
    struct deleter {
        void operator()(coir_future *future) const noexcept
        {
            coir_future_free(future);
        }
    };

    static void *run(void *arg) noexcept
    {
        auto *s = static_cast<state *>(arg);
        s->run();
        return s->result.has_thrown() ? coir_fail(has_thrown) : s;
    }

    template <typename Function>
    friend future<std::invoke_result_t<std::decay_t<Function> &>> async(Function &&function,
                                                                        const coir_attr *attr);

    /* Freed first, by waiting for the fiber, which uses the state. */
    std::unique_ptr<state> state_;
    std::unique_ptr<coir_future, deleter> future_;
};

/* Start a fiber that runs function(). Destroying the future cancels it, and waits for its end. */
template <typename Function>
future<std::invoke_result_t<std::decay_t<Function> &>> async(Function &&function,
                                                             const coir_attr *attr = nullptr)
{
    using result = future<std::invoke_result_t<std::decay_t<Function> &>>;
    using call = typename result::template call<std::decay_t<Function>>;
    result f;
    f.state_ = std::make_unique<call>(std::forward<Function>(function));
    f.future_.reset(coir_async_with(attr, result::run, f.state_.get()));
    if (!f.future_)
        throw_errno("coir::async");
    return f;
}

} // namespace coir

#endif
