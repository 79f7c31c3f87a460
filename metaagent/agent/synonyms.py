"""Words that people use for what tools call otherwise: one line for each idea, written by hand.

A word may stand in several lines; it then tells less about each. The lines are about what APIs are for, never about one
provider. `metaagent.agent.catalog` reads them: a word of a line finds tools by the line's other words, at a discount.
"""

from __future__ import annotations

from collections.abc import Mapping

from metaagent.agent.words import stem

_LINES = """
    create add new make insert append put generate compose build
    update change modify edit set adjust alter revise amend correct replace rename
    delete remove cancel clear erase drop discard trash unsubscribe destroy purge
    list all every enumerate overview
    search find lookup locate discover seek query explore browse look
    send post deliver forward reply write dispatch share
    message chat dm text conversation thread
    mail email inbox e-mail letter gmail
    read view open show display see
    write save store record log note
    file document doc attachment folder drive
    folder directory path
    user person member people account profile who contact employee customer client someone
    profile account me myself username whoami
    group team channel room community server
    channel room
    event meeting appointment calendar schedule session reservation reminder agenda
    book reserve booking reservation order
    invite participant attendee guest
    task todo issue ticket reminder action
    bug issue error problem defect crash
    movie film cinema theatre theater picture
    tv show series television sitcom episode
    cast credit crew actor actress director star role starring directed acted play character lead writer producer
    filmography credit appear appearance work
    person actor actress director celebrity star people artist singer author
    image picture photo photograph poster cover logo icon screenshot wallpaper portrait thumbnail artwork
    song track music tune audio melody
    singer artist musician band rapper composer
    album record release
    play playback start resume stream listen
    pause stop halt
    playlist queue mix
    skip next forward
    previous back last
    volume loud quiet sound
    repeat loop
    follow subscribe
    favorite favourite like save saved star bookmark library loved
    similar related like alike resemble comparable equivalent
    recommend recommendation suggest suggestion
    trending trend popular hot viral top best
    popular top rated rating highest best
    review rating comment feedback opinion score
    genre category type kind style
    keyword tag topic theme label
    company studio firm business organization corporation brand
    headquarter address location office
    birth born birthday biography
    latest newest recent new current last
    upcoming future coming next soon
    current now today
    history historical past
    date day time calendar when
    price cost fee rate charge expensive cheap quote worth value budget
    stock share equity ticker symbol
    company stock ticker
    market exchange trading
    crypto cryptocurrency bitcoin btc ethereum eth coin token
    currency exchange conversion convert dollar euro usd eur forex money
    money payment pay transfer transaction refund fund fee
    transaction payment purchase spending expense
    balance fund account
    bill invoice payment receipt
    loan mortgage interest
    tax vat
    earning revenue profit income financial
    investment portfolio fund asset
    news headline article story press
    article paper publication research study journal literature preprint arxiv
    blog post article
    book novel title author isbn
    weather forecast temperature rain climate humidity wind snow precipitation sunny
    temperature fahrenheit celsius hot cold
    map route direction navigation drive driving distance travel
    location place address city coordinate latitude longitude geocode position where
    near nearby nearest closest around local within
    city town municipality
    country nation
    zip postcode postal
    flight airline plane airport fly aircraft
    train rail railway station ticket
    bus transit transport
    taxi ride cab uber lyft rideshare
    car vehicle auto automobile
    rental rent hire
    hotel accommodation lodging stay hostel homestay room airbnb
    trip travel vacation holiday journey tour itinerary
    attraction sightseeing landmark monument
    restaurant dining eat food dinner lunch cafe cuisine
    food meal dish recipe cooking cook ingredient
    recipe cook meal dish
    cuisine food
    nutrition calorie diet protein
    dietary vegan vegetarian gluten
    drink cocktail beer wine beverage
    exercise workout gym fitness training
    health medical disease patient symptom diagnosis
    doctor physician provider clinic hospital therapist counselor dentist
    drug medicine medication treatment pharmaceutical
    cancer tumor oncology
    gene variant mutation genetic
    trial clinical treatment therapy
    game match fixture play
    team club squad
    league tournament competition championship cup
    player athlete
    score result
    standing ranking rank leaderboard table
    football soccer
    odds probability chance bet betting likelihood
    lottery lotto jackpot
    compute calculate calculator calculation evaluate estimate determine solve
    sum total add plus
    multiply product times
    divide quotient
    average mean
    statistic stats analytics metric
    count number amount quantity
    chart graph plot diagram visualization visualize
    analyze analysis insight examine
    summary summarize overview brief abstract
    translate translation language
    text string sentence
    word dictionary definition define meaning synonym
    grammar spelling
    detect check verify validate validation test confirm
    convert transform conversion
    compress shrink
    merge combine concatenate join
    split separate divide
    extract parse scrape
    download fetch export
    upload import
    website webpage site web page url link domain internet online
    browser page web
    html markdown
    visit navigate open browse go
    click press tap
    fill enter type input
    domain dns whois hostname
    ip address
    code program script snippet function
    repository repo git github
    commit change
    branch merge
    run execute command terminal shell cmd
    process job task
    container docker kubernetes
    database table sql query record row
    spreadsheet excel sheet workbook xlsx
    presentation slide powerpoint ppt
    word docx
    pdf document
    video clip youtube movie footage
    channel youtuber creator
    subscriber follower
    caption subtitle transcript
    tweet twitter
    instagram facebook tiktok social
    post feed timeline
    hashtag tag
    comment reply
    product item goods
    shop store buy purchase shopping ecommerce
    order purchase delivery
    shipping shipment delivery package parcel tracking courier
    inventory stock availability
    available availability free open
    cart basket
    coupon discount deal offer promo sale
    seller vendor merchant
    job career position employment vacancy
    salary wage pay compensation
    company employer
    resume cv
    school university college education
    course class lesson training
    student pupil
    exam quiz test question
    question answer
    house home property apartment estate real
    lease rent tenant
    law legal case court lawsuit
    crime criminal offense
    phone telephone mobile number call
    sms text message
    password credential login authenticate authentication token key secret
    otp verification code
    random shuffle generate
    joke fun humor funny
    quote saying inspiration
    fact trivia
    horoscope zodiac astrology sign fortune
    almanac lunar chinese
    bible verse quran
    anime manga
    card deck
    pokemon game
    name called title
    gender sex
    age old
    color colour
    size dimension height width length
    weight mass
    speed velocity fast
    unit measurement measure
    area surface
    volume capacity
    population inhabitant
    holiday festival
    timezone time clock
    sunrise sunset moon sun
    earthquake disaster
    planet space nasa astronomy
    animal species pet
    dog cat breed
    plant tree flower
    alarm alert notification notify reminder warning
    setting configuration preference option config
    status state condition progress
    device machine
    version release
    permission access right
    security vulnerability threat malware virus
    backup restore
    background wallpaper
    opening hours open
    serve offer provide
    buy order
    sell seller
    hour minute
    week weekly
    month monthly
    day daily
    year annual yearly
"""


def _read(table: str) -> Mapping[str, tuple[str, ...]]:
    ideas: dict[str, list[str]] = {}
    for number, line in enumerate(table.strip().splitlines()):
        for root in dict.fromkeys(map(stem, line.split())):
            ideas.setdefault(root, []).append(f"#{number}")
    return {root: tuple(named) for root, named in ideas.items()}


IDEAS = _read(_LINES)
"""The ideas that each stem may stand for. The name of an idea is no word."""
