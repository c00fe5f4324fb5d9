# SPDX-License-Identifier: MIT
import queue
import threading
q=queue.Queue(10); out=[]
def prod():
    for i in range(5000): q.put(i)
    q.put(None)
def cons():
    while True:
        x=q.get()
        if x is None: break
        out.append(x)
b=time.time()
ts=[threading.Thread(target=f) for f in (prod,cons)]
[t.start() for t in ts]; [t.join() for t in ts]
ev=threading.Event(); threading.Timer(0.05, ev.set).start(); print(ev.wait(2))
from concurrent.futures import ThreadPoolExecutor
with ThreadPoolExecutor(8) as e: print(sum(e.map(lambda x:x*x, range(1000))))
r=[]
def f():
    try: r.append(threading.current_thread().name)
    finally: pass
for i in range(100):
    t=threading.Thread(target=f); t.start()
for t in threading.enumerate():
    if t is not threading.main_thread(): t.join()
print(len(r))
b=threading.Barrier(5); n=[]
def g(): b.wait(); n.append(1)
ts=[threading.Thread(target=g) for _ in range(5)]; [t.start() for t in ts]; [t.join() for t in ts]; print(len(n))
